-- worker(id, 1 at its start, 1 when it takes jobs): I live, for 10 s more. One that was declared dead is told so and not revived: it takes a new id.
-- Returns {1 | 0 declared dead, leases whose task was cancelled, leases begun}.
local w, first, polls = unpack(ARGV)
if first == '' and not call('ZSCORE', WORKERS, w) then return {0, {}, {}} end
pass_when_full()
call('ZADD', WORKERS, now + WORKER_TTL, w)
if polls ~= '' then call('ZADD', POLLING, now + WORKER_TTL, w) else call('ZREM', POLLING, w) end
return {1, call('SMEMBERS', CANCEL_WORKER .. w), call('SMEMBERS', OF_WORKER .. w)}
