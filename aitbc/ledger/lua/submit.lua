-- needs: order, agent, signature
-- submit((task, digest, rank, signature, terms, floor, task_data, requirements, max_attempts, run_timeout, queue_timeout, delay, run_at,
--        idempotency key, idempotent, affinity key, owner, whose share, callback url, traceparent, job's queue, job) ...)
-- Times in µs, 0 = none; no job: both empty.
-- Records each task, puts it into the order, and pushes its route job when broker and ledger are one Redis: then no death of the API comes
-- between. Grants nothing: the job does.
-- Returns for each, in one list (see `each` in the prelude), created | exists | conflict | full | signatures | share, task, submitted at, 1 when a route job is wanted and was not pushed.
-- Refusals change nothing.
local FIELDS = 22

-- Whether the job is in its queue now. The list is Celery's: whatever else somebody has put there must not stop a script half way.
local function pushed(queue, job) return job ~= '' and type(redis.pcall('LPUSH', queue, job)) == 'number' end

local function submit(t, digest, rank, sig, terms, floor, data, requirements, attempts, run, wait, delay, run_at, key, idempotent,
                      affinity, owner, by, callback, trace, queue, job)
  if key ~= '' then t = call('GET', IDEMPOTENCY .. key) or t end
  local before = get(TASK .. t, {'digest', 'submitted_at', 'stamp', 'state'})
  if before.digest then
    return {before.digest == digest and 'exists' or 'conflict', t, before.submitted_at or before.stamp, before.state == 'queued' and 1 or 0}
  end
  if not may_live() then return {'full', t, now, 0} end
  local why = unusable(sig, by)
  if why then return {why, t, now, 0} end

  local due = math.max(tonumber(run_at), now + delay)
  local stamp = due <= now and new_stamp() or ''
  local state = due <= now and 'queued' or 'scheduled'
  local record = {'state', state, 'digest', digest, 'priority', rank, 'sig', sig, 'task_data', data, 'stamp', stamp}
  local function add(name, value) record[#record + 1], record[#record + 2] = name, value end
  -- What is usual is left out: docs/keys.md. Half the tasks' memory is fields.
  if requirements ~= '{}' then add('requirements', requirements) end
  if tonumber(attempts) ~= USUAL_ATTEMPTS then add('max_attempts', attempts) end
  if tonumber(run) ~= USUAL_RUN then add('run_timeout', run) end
  if stamp ~= now then add('submitted_at', now) end
  if due > now then add('due', due) end
  if idempotent ~= '' then add('idempotent', idempotent) end
  if callback ~= '' then add('callback', callback) end
  if key ~= '' then add('idempotency_key', key) end
  if affinity ~= '' then add('affinity', affinity) end
  if owner ~= '' then add('owner', owner) end
  if trace ~= '' then add('traceparent', trace) end
  if tonumber(wait) > 0 then add('queue_timeout', wait) end
  call('HSET', TASK .. t, unpack(record))
  if key ~= '' then call('SET', IDEMPOTENCY .. key, t) end
  if tonumber(wait) > 0 then call('ZADD', TIMEOUTS, due + wait, t) end
  call('HINCRBY', STATS, 'submitted', 1)
  call('ZADD', ALL, now, t)
  if owner ~= '' then call('ZADD', OWN_TASKS .. owner, now, t) end
  call('ZADD', TASKS .. state, due <= now and stamp or due, t)
  use(sig, terms, floor, by)
  if due > now then return {'created', t, now, 0} end
  enqueue(t, sig, rank, stamp)
  return {'created', t, now, pushed(queue, job) and 0 or 1}
end

local replies = {}
for i = 1, #ARGV, FIELDS do
  for _, part in ipairs(submit(unpack(ARGV, i, i + FIELDS - 1))) do replies[#replies + 1] = part end
end
return replies
