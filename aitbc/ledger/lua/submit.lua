-- needs: order, agent, signature
-- submit(task, digest, rank, priority as sent, signature, terms, floor, task_data, requirements, max_attempts, run_timeout, queue_timeout,
--        delay, run_at, idempotency key, idempotent)      times in µs, 0 = none
-- Records the task and puts it into the order. Grants nothing: the route job does.
-- Returns {created | exists | conflict | full | signatures, task, submitted at, 1 when a route job is wanted}. Refusals change nothing.
local t, digest, rank, sent, sig, terms, floor, data, requirements, attempts, run, queue, delay, run_at, key, idempotent = unpack(ARGV)
if key ~= '' then t = call('GET', IDEMPOTENCY .. key) or t end
local before = get(TASK .. t, 'digest', 'submitted_at', 'stamp', 'state')
if before.digest then
  return {before.digest == digest and 'exists' or 'conflict', t, before.submitted_at or before.stamp, before.state == 'queued' and 1 or 0}
end
if not may_live() then return {'full', t, now, 0} end
if not may_use(sig) then return {'signatures', t, now, 0} end

local due = math.max(tonumber(run_at), now + delay)
local stamp = due <= now and new_stamp() or ''
local state = due <= now and 'queued' or 'scheduled'
call('HSET', TASK .. t, 'state', state, 'digest', digest, 'priority', rank, 'sig', sig, 'task_data', data, 'stamp', stamp)
-- What is usual is left out: docs/keys.md. Half the tasks' memory is fields.
if requirements ~= '{}' then call('HSET', TASK .. t, 'requirements', requirements) end
if tonumber(attempts) ~= USUAL_ATTEMPTS then call('HSET', TASK .. t, 'max_attempts', attempts) end
if tonumber(run) ~= USUAL_RUN then call('HSET', TASK .. t, 'run_timeout', run) end
if stamp ~= now then call('HSET', TASK .. t, 'submitted_at', now) end
if due > now then call('HSET', TASK .. t, 'due', due) end
if idempotent ~= '' then call('HSET', TASK .. t, 'idempotent', idempotent) end
if key ~= '' then
  call('SET', IDEMPOTENCY .. key, t)
  call('HSET', TASK .. t, 'idempotency_key', key)
end
if tonumber(queue) > 0 then
  call('HSET', TASK .. t, 'queue_timeout', queue)
  call('ZADD', TIMEOUTS, due + queue, t)
end
call('HINCRBY', STATS, 'submitted', 1)
call('ZADD', ALL, now, t)
call('ZADD', TASKS .. state, due <= now and stamp or due, t)
use(sig, terms, floor)
if due <= now then enqueue(t, sig, rank, stamp) end
return {'created', t, now, due <= now and 1 or 0}
