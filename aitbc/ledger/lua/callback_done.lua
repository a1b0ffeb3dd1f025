-- needs: order
-- callback_done(task, retries by hand, number of the try, outcome, pause µs, what was wrong)
-- outcome: delivered; failed: again after a pause that grows, CALLBACK_TRIES times in all; gone: never again; later: it was not tried.
-- Returns delivered, given_up or due, in a repeat too; stale when somebody else has told of this end, or it is none any more.
local PAUSES = {5, 30, 120, 600, 1800, 3600, 7200}
local t, retries, try, outcome, pause, wrong = unpack(ARGV)
local T = get(TASK .. t, {'retries', 'callback_tries', 'callback_end'})
if (T.retries or '0') ~= retries then return 'stale' end
if T.callback_end then return T.callback_tries == try and T.callback_end or 'stale' end
if not call('ZSCORE', CALLBACKS, t) then return 'stale' end
if outcome ~= 'delivered' then
  if T.callback_tries == try then return 'due' end
  if (T.callback_tries or 0) + 1 ~= tonumber(try) then return 'stale' end
end

local function due(seconds, ...)
  if ... then call('HSET', TASK .. t, ...) end
  call('ZADD', CALLBACKS, int(now + seconds), t)
  return 'due'
end
pass_when_full()
if outcome == 'later' then return due(tonumber(pause)) end
local ends = outcome == 'delivered' and 'delivered' or (outcome == 'gone' or tonumber(try) >= CALLBACK_TRIES) and 'given_up'
if not ends then return due(PAUSES[math.min(tonumber(try), #PAUSES)] * S, 'callback_tries', try, 'callback_error', wrong) end
call('ZREM', CALLBACKS, t)
call('HSET', TASK .. t, 'callback_tries', try, 'callback_end', ends, 'callback_error', wrong)
call('HINCRBY', STATS, 'callbacks_' .. ends, 1)
return ends
