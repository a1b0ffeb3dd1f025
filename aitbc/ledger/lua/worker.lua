-- worker(id, 1 at its start, 1 when it takes jobs, calls it has room for or '', (name, total) ...): I live, for 10 s more. One that was declared dead is told so and not revived: it takes a new id.
-- Totals are those since its start, and only what is new of them is added to the fleet's histograms: a repeat adds nothing.
-- Returns {1 | 0 declared dead, leases whose task was cancelled, leases begun}.
local w, first, polls, room = unpack(ARGV, 1, 4)
if first == '' and not call('ZSCORE', WORKERS, w) then return {0, {}, {}} end
pass_when_full()
call('ZADD', WORKERS, now + WORKER_TTL, w)
if polls ~= '' then call('ZADD', POLLING, now + WORKER_TTL, w) else call('ZREM', POLLING, w) end
if room ~= '' then call('HSET', ROOM, w, room) end
for i = 5, #ARGV, 2 do
  local name, total = ARGV[i], tonumber(ARGV[i + 1])
  local more = total - (call('HGET', TOLD .. w, name) or 0)
  if more > 0 then
    call('HINCRBY', MEASURED, name, int(more))
    call('HSET', TOLD .. w, name, int(total))
  end
end
return {1, call('SMEMBERS', CANCEL_WORKER .. w), call('SMEMBERS', OF_WORKER .. w)}
