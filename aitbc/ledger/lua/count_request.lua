-- count_request(budget and caller, quota, window ms): one more request in the caller's window, which begins with its first.
-- Returns {what is left, below 0 when it is beyond the quota, ms to the window's end}.
local key, quota, window = LIMIT .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
pass_when_full() -- a heartbeat must
local n = call('INCR', key)
local left = call('PTTL', key)
if left < 0 or left > window then -- a new one; or Redis's clock was set back, and it would last as much longer
  call('PEXPIRE', key, window)
  left = window
end
return {quota - n, left}
