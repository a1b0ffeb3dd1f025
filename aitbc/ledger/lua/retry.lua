-- needs: order, agent, signature, grant, lifecycle
-- retry(task, request, signature, terms, floor, whose share, version…): a failed or cancelled task by hand: counters and stamp anew, attempts
-- go on counting.
-- Returns {state, grants…} (a repeat of the same request too); {busy} while a cancelled lease lives; {final, state}; {unknown}; {full};
-- {signatures}; {share}; {version, its version} when none of those given is its.
local t, request, sig, terms, floor, by = unpack(ARGV)
local T = task(t)
if not T.state then return {'unknown'} end
if call('HGET', TASK .. t, 'retry') == request then return {T.state} end
if not one_of(version_of(T), 7) then return {'version', version_of(T)} end
if T.state ~= 'failed' and T.state ~= 'cancelled' then return {'final', T.state} end
if T.lease then return {'busy'} end
if not may_live() then return {'full'} end
local why = unusable(sig, by)
if why then return {why} end
local was = T.state
call('HSET', TASK .. t, 'retry', request, 'first', T.attempt or 0) -- the first write: refused when Redis is out of memory
call('HINCRBY', STATS, 'kept_bytes', -kept_bytes(t, T))
call('HDEL', TASK .. t, 'counted', 'crashes', 'tried', 'ended_at', 'error_code', 'error_message', 'error_agent', 'routed', 'progress', 'told',
  'callback_tries', 'callback_end', 'callback_error')
if T.callback then call('ZREM', CALLBACKS, t) end -- nobody shall be told any more of an end that is none
use(sig, terms, floor, by)
call('HINCRBY', TASK .. t, 'retries', 1)
call('HINCRBY', STATS, 'retried', 1)
call('HINCRBY', STATS, 'reopened_' .. was, 1)
if T.stamp then call('HSETNX', TASK .. t, 'submitted_at', T.stamp) end
T.stamp = nil
again(t, T, 0)
if T.queue_timeout then call('ZADD', TIMEOUTS, now + T.queue_timeout, t) end
local grants = match(T.sig, {})
return {call('HGET', TASK .. t, 'state'), unpack(grants)}
