-- needs: order, agent, signature
-- submit(task, digest, rank, priority as sent, signature, terms, floor, task_data, requirements, max_attempts, run_timeout, queue_timeout,
--        delay, run_at, idempotency key, idempotent)      times in µs, 0 = none
-- Records the task and puts it into the order. Grants nothing: the route job does.
-- Returns {created | exists | conflict | full | signatures, task, submitted at, 1 when a route job is wanted}. Refusals change nothing.
local t, digest, rank, sent, sig, terms, floor, data, requirements, attempts, run, queue, delay, run_at, key, idempotent = unpack(ARGV)
if key ~= '' then t = call('GET', IDEMPOTENCY .. key) or t end
local before = get(TASK .. t, 'digest', 'submitted_at', 'state')
if before.digest then
  return {before.digest == digest and 'exists' or 'conflict', t, before.submitted_at, before.state == 'queued' and 1 or 0}
end
if not may_live() then return {'full', t, now, 0} end
if not may_use(sig) then return {'signatures', t, now, 0} end

local due = math.max(tonumber(run_at), now + delay)
local stamp = due <= now and new_stamp() or ''
local state = due <= now and 'queued' or 'scheduled'
call('HSET', TASK .. t, 'task_id', t, 'state', state, 'digest', digest, 'priority', rank, 'priority_sent', sent, 'sig', sig, 'task_data', data,
  'requirements', requirements, 'max_attempts', attempts, 'run_timeout', run, 'submitted_at', now, 'since', due, 'stamp', stamp)
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
