-- turn(worker, milliseconds): whose turn it is to sweep; no key with a TTL, which would stop all sweeps while a clock that was set back
-- catches up. Returns 1 when it is this worker's, for so long.
local span = ARGV[2] * 1000
local ends = tonumber(call('HGET', LEDGER, 'turn') or 0)
if now < ends and ends <= now + span then return 0 end
pass_when_full()
call('HSET', LEDGER, 'turn', now + span, 'sweeper', ARGV[1])
return 1
