-- needs: order, agent, signature
-- submit((task, digest, rank, priority as sent, signature, terms, floor, task_data, requirements, max_attempts, run_timeout, queue_timeout,
--        delay, run_at, idempotency key, idempotent, job's queue, job) ...)      times in µs, 0 = none; no job: both empty
-- Records each task, puts it into the order, and pushes its route job when broker and ledger are one Redis: then no death of the API comes
-- between. Grants nothing: the job does.
-- Returns for each {created | exists | conflict | full | signatures, task, submitted at, 1 when a route job is wanted and was not pushed}.
-- Refusals change nothing.
local FIELDS = 18

-- Whether the job is in its queue now. The list is Celery's: whatever else somebody has put there must not stop a script half way.
local function pushed(queue, job) return job ~= '' and type(redis.pcall('LPUSH', queue, job)) == 'number' end

local function submit(t, digest, rank, sent, sig, terms, floor, data, requirements, attempts, run, wait, delay, run_at, key, idempotent,
                      queue, job)
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
  local record = {'task_id', t, 'state', state, 'digest', digest, 'priority', rank, 'priority_sent', sent, 'sig', sig, 'task_data', data,
    'requirements', requirements, 'max_attempts', attempts, 'run_timeout', run, 'submitted_at', now, 'since', due, 'stamp', stamp}
  local function add(name, value) record[#record + 1], record[#record + 2] = name, value end
  if due > now then add('due', due) end
  if idempotent ~= '' then add('idempotent', idempotent) end
  if key ~= '' then add('idempotency_key', key) end
  if tonumber(wait) > 0 then add('queue_timeout', wait) end
  call('HSET', TASK .. t, unpack(record))
  if key ~= '' then call('SET', IDEMPOTENCY .. key, t) end
  if tonumber(wait) > 0 then call('ZADD', TIMEOUTS, due + wait, t) end
  call('HINCRBY', STATS, 'submitted', 1)
  call('ZADD', ALL, now, t)
  call('ZADD', TASKS .. state, due <= now and stamp or due, t)
  use(sig, terms, floor)
  if due > now then return {'created', t, now, 0} end
  enqueue(t, sig, rank, stamp)
  return {'created', t, now, pushed(queue, job) and 0 or 1}
end

local replies = {}
for i = 1, #ARGV, FIELDS do replies[#replies + 1] = submit(unpack(ARGV, i, i + FIELDS - 1)) end
return replies
