-- Lifecycle: how a task's attempt begins, how a task ends, is retried or goes back. After grant.
-- The live lease is part of the task's record (`lease` names it). A begun one leaves a line L{grant} = attempt|agent|token hash|began,
-- and when it has ended |ended|outcome|http status|error code, and when finish ended it |what a repeat must hear. `lines` lists the grants whose lines are kept: the first 5 and last 15.

local function task(t, line)
  local T = get(TASK .. t, {'state', 'sig', 'priority', 'stamp', 'since', 'lease', 'agent', 'attempt', 'first', 'counted', 'crashes',
    'poisons', 'max_attempts', 'run_timeout', 'tried', 'queue_timeout', 'granted_at', 'wait', 'worker', 'token', 'async', 'expires',
    'deadline', 'cancelling', 'instance', 'retries', 'idempotent', 'lines', 'callback', 'watched', 'told', line or 'L0'})
  T.task = t
  return T
end

-- What a client that cancels or retries may have seen.
local function version_of(T) return T.state .. '.' .. (T.attempt or 0) .. '.' .. (T.retries or 0) end

local function task_of(id) return id:sub(1, id:find(':', 1, true) - 1) end

-- The task's record when the lease is live; else nil and the record.
local function lease(id)
  local T = task(task_of(id), line_of(id))
  if T.lease == id then return T end
  return nil, T
end

-- An attempt's line as its fields: 3 is the token hash, 9 what a repeat of finish must hear.
local function fields_of(line)
  local fields = {}
  for field in (line .. '|'):gmatch('([^|]*)|') do fields[#fields + 1] = field end
  return fields
end

-- The lease that this token holds or held, among the kept attempts of the task; nil when none.
local function by_token(t, token)
  local T = get(TASK .. t, {'lease', 'token', 'lines'})
  if T.lease and T.token == token then return T.lease end
  for number in (T.lines or ''):gmatch('%d+') do
    local line = call('HGET', TASK .. t, 'L' .. number)
    if line and fields_of(line)[3] == token then return t .. ':' .. number end
  end
end

-- A granted lease begins in a step of its own; `by` as in grant.
local function begin(id, by, t, a, A, T)
  call('HSET', TASK .. t, begun(id, by, t, a, A, T))
  return needs(id, t, a, A, T)
end

-- The reply of who may begin a lease: a word, what the POST needs or '', grants. One list (see `each`).
local function answered(word, needed, grants)
  local reply = needed and {word, unpack(needed)} or {word, ''}
  for _, text in ipairs(grants) do reply[#reply + 1] = text end
  return reply
end

-- What the POST needs; or nil and why: gone, begun, refused (by the agent's state), suspect; for the last two the lease too.
local function try_begin(id, worker, token)
  local L = lease(id)
  if not L then return nil, 'gone' end
  local A = agent(L.agent)
  if L.token then
    if L.token == token and L.worker == worker and not L.cancelling then return needs(id, L.task, L.agent, A, L) end
    return nil, 'begun'
  end
  if room(A) == 0 then return nil, 'refused', L end
  if not may_begin(L, worker) then return nil, 'suspect', L end
  rank_out(LEASES, id)
  return begin(id, {worker = worker, token = token}, L.task, L.agent, A, L)
end

-- What an ended task takes, about: its record and places in the listings, its data, its progress, its result.
local function kept_bytes(t, T, of_result)
  return RECORD_BYTES + call('HSTRLEN', TASK .. t, 'task_data') + (T.told or 0) + (of_result or call('HSTRLEN', TASK .. t, 'result'))
end

-- Away with what only a live lease needs, and these further fields: half of an ended task's memory.
local function drop_lease(t, ...)
  call('HDEL', TASK .. t, 'lease', 'token', 'deadline', 'expires', 'async', 'cancelling', 'instance', 'granted_at', 'wait', ...)
end

-- The one way into a terminal state. `...`: further fields of the record.
local function finished(t, T, state, ...)
  if not T.keeps_lease then drop_lease(t) end
  become(t, T.state, state, at, 'ended_at', at, ...)
  count(STATS, state, 1)
  count(STATS, 'kept_bytes', kept_bytes(t, T, #(T.result or '')))
  count(SIG .. T.sig, 'live', -1)
  if T.queue_timeout then call('ZREM', TIMEOUTS, t) end
  if T.callback then call('ZADD', CALLBACKS, at, t) end
  tell(t, state)
  T.state = state
end

local function fail(t, T, code, message) finished(t, T, 'failed', 'error_code', code, 'error_message', message, 'error_agent', T.agent or '') end

-- Back into the order with its old stamp: match(T.sig) must follow.
local function again(t, T, delay)
  local was = T.state
  drop_lease(t, 'worker')
  if delay > 0 then
    T.state = 'scheduled'
    become(t, was, 'scheduled', now + delay, 'due', now + delay)
  else
    T.state, T.stamp = 'waiting', T.stamp or new_stamp()
    become(t, was, 'waiting', T.stamp, 'stamp', T.stamp, 'since', now)
    enqueue(t, T.sig, T.priority, T.stamp)
  end
  if T.watched then tell(t, T.state) end
end

-- 1 s × 2^(n−1), at most 60 s, ±20 % from the stamp: the same in every repeat.
local function backoff(n, stamp) return math.floor(math.min(S * 2 ^ (n - 1), 60 * S) * (0.8 + (stamp % 1000) / 2500)) end

local LOST = {crash = true, lost = true, stopped = true} -- the call was broken off: what it did is not known

-- An attempt has failed. how: final; counted (against max_attempts); unstarted (the work never began); crash, lost (its worker died; only
-- a crash is held against the task); stopped (its worker or its agent stopped). The task ends, or goes on: rematch must follow when
-- T.state is waiting now.
local function failed(t, T, how, code, message)
  local counted, crashes = tonumber(T.counted or 0), crashes_of(T)
  if how == 'counted' then counted = counted + 1 elseif how == 'crash' then crashes = crashes + 1 end
  local most, sends = tonumber(T.max_attempts or USUAL_ATTEMPTS), (T.attempt or 0) - (T.first or 0)
  if LOST[how] and most == 1 then how, code = 'final', 'outcome_unknown' end
  if crashes >= MAX_CRASHES then how, code = 'final', 'poison' end
  if how ~= 'final' and sends >= MAX_DISPATCHES then how, code = 'final', 'dispatch_limit' end
  local tried = T.tried or ' '
  if not tried:find(' ' .. T.agent .. ' ', 1, true) and #tried < 2000 then tried = tried .. T.agent .. ' ' end
  call('HSET', TASK .. t, 'counted', counted, 'crashes', crashes, 'poisons', setting('poisons') or '0', 'tried', tried)
  if code == 'poison' then
    call('HINCRBY', LEDGER, 'poisons', 1)
    settings = nil
  end
  if how == 'final' or counted >= most then return fail(t, T, code, message) end
  local at_once = LOST[how] or untried(tried, T.sig, t)
  again(t, T, at_once and 0 or backoff(how == 'counted' and counted or math.max(1, sends), T.stamp))
end

-- Its worker may hold another suspect. By the record's own count: it may have been cleared since it began.
local function clear_suspect(id, L)
  if tonumber(L.crashes or 0) >= 2 and call('HGET', SUSPECTS, L.worker) == id then call('HDEL', SUSPECTS, L.worker) end
end

-- How long a 202 lease lived; the other leases' times come from their workers (worker.lua).
local function measure(id, L)
  local us, bounds, bucket = now - fields_of(L[line_of(id)])[4], BOUNDS, 0
  while bounds[bucket + 1] and us > bounds[bucket + 1] do bucket = bucket + 1 end
  call('HINCRBY', MEASURED, 'lease:accepted:' .. bucket, 1)
  call('HINCRBY', MEASURED, 'lease:accepted:us', math.max(0, us))
end

-- The first write of what ends a lease, one that passes when Redis is out of memory; settle(L.agent) must follow.
local function free(id, L)
  call('SREM', OF_AGENT .. L.agent, id)
  rank_out(LEASES, id)
  if L.worker then
    file_out(OF_WORKER .. L.worker, id)
    if not L.async then clear_suspect(id, L)
    else
      call('SREM', ASYNC, id)
      measure(id, L)
    end
  end
  if L.cancelling then
    call('SREM', CANCEL_AGENT .. L.agent, id)
    call('SREM', CANCEL_WORKER .. L.worker, id)
  end
end

-- The attempt's line, complete.
local function closing(T, id, outcome, http, code)
  return (T[line_of(id)] or '') .. table.concat({'', at, outcome, http, code}, '|')
end

-- A lease has ended and its task is runnable again: it may go to another agent, so the freed one is shown as it is first.
local function rematch(sig, a, grants)
  local A = agent(a)
  if A then
    refresh(a, A)
    place(a, A)
  end
  return settle(a, match(sig, grants))
end

-- A granted lease goes back unbegun: the task is runnable again after `delay`, its stamp kept.
local function hand_back(id, L, delay, grants)
  free(id, L)
  count(STATS, 'returned', 1)
  again(L.task, L, delay)
  return rematch(L.sig, L.agent, grants)
end

-- A begun lease that ends without an answer.
local function broken(id, L, how, code, grants)
  free(id, L)
  count(STATS, 'attempts_bad', 1)
  call('HSET', TASK .. L.task, line_of(id), closing(L, id, how == 'crash' and 'lost' or how, '', code))
  if L.state == 'running' then failed(L.task, L, how, code, '') else drop_lease(L.task) end
  if L.state == 'waiting' then return rematch(L.sig, L.agent, grants) end
  return settle(L.agent, grants)
end

-- An ended task leaves the ledger, counted.
local function erase(t, state)
  local T = get(TASK .. t, {'idempotency_key', 'owner', 'callback', 'told'})
  call('ZREM', TASKS .. state, t)
  call('ZREM', ALL, t)
  if T.owner then call('ZREM', OWN_TASKS .. T.owner, t) end
  if T.idempotency_key then call('DEL', IDEMPOTENCY .. T.idempotency_key) end
  if T.callback and call('ZREM', CALLBACKS, t) == 1 then call('HINCRBY', STATS, 'callbacks_given_up', 1) end
  call('HINCRBY', STATS, 'kept_bytes', -kept_bytes(t, T))
  call('DEL', TASK .. t)
  call('HINCRBY', STATS, 'trimmed_' .. state, 1)
end
