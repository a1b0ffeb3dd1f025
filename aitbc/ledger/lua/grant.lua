-- Grants: whatever frees or widens an agent ends in settle(agent), whatever makes tasks runnable ends in match(signature).
-- A list of grants holds `{lease} {rank} {retries by hand}` texts: leases that still need a job. After order and agent.

local granted = {} -- lease → {task, agent, the agent's record, the task's}: for a begin in the same step

local function line_of(id) return 'L' .. id:match('(%d+)$') end

-- What a runnable task's grant and begin need of it, its data apart.
local function runnable(t)
  return get(TASK .. t, 'state', 'tried', 'grants', 'retries', 'attempt', 'run_timeout', 'since', 'stamp', 'lines', 'idempotent', 'crashes',
    'poisons', 'priority')
end

-- Crashes since a task was last found to be poison: that one was the cause of those before, and whoever died beside it is cleared.
local function crashes_of(T)
  local n = tonumber(T.crashes or 0)
  return n > 0 and (T.poisons or '0') == (setting('poisons') or '0') and n or 0
end

local function is_suspect(T) return crashes_of(T) >= 2 end

-- Whether this worker may begin it: it holds one suspect at most.
local function may_begin(T, worker) return not (is_suspect(T) and call('HEXISTS', SUSPECTS, worker) == 1) end

local function keep_line(t, T, number) -- one more line; beyond 20 the sixth goes
  if not T.lines then return number end
  local lines = {}
  for n in T.lines:gmatch('%d+') do lines[#lines + 1] = n end
  lines[#lines + 1] = number
  if #lines > 20 then
    local old = table.remove(lines, 6)
    call('HDEL', TASK .. t, 'L' .. old)
  end
  return table.concat(lines, ' ')
end

-- The lease begins; returns what the task's record must hold of it. `by`: {worker, token hash}.
local function begun(id, by, t, a, A, T)
  T.attempt, T.deadline = (T.attempt or 0) + 1, now + (T.run_timeout or USUAL_RUN)
  call('ZADD', LEASES, T.deadline + SLACK, id)
  call('SADD', OF_WORKER .. by.worker, id)
  call('ZADD', WORKERS, now + WORKER_TTL, by.worker) -- a worker thought dead is watched again
  if is_suspect(T) then call('HSET', SUSPECTS, by.worker, id) end
  if A._instance then call('HSET', TASK .. t, 'instance', A._instance) end
  call('HINCRBY', STATS, 'begun', '1')
  call('HINCRBY', STATS, 'distribution_us', math.max(0, now - (T.since or T.stamp or now)))
  local line = line_of(id)
  return 'worker', by.worker, 'token', by.token, 'attempt', T.attempt, 'deadline', T.deadline, 'lines', keep_line(t, T, line:sub(2)),
    line, string.format('%d|%s|%s|%.0f', T.attempt, a, by.token, now)
end

-- What the POST needs; aitbc/ledger/leases.py reads it in this order.
local function needs(id, t, a, A, T)
  local data = call('HMGET', TASK .. t, 'task_data', 'requirements')
  return {id, tonumber(T.attempt), tonumber(T.deadline), T.deadline - now, T.priority, data[1] or '', data[2] or '',
    tonumber(T.retries or 0), T.idempotent or '', a, A._url or '', A._kind or '', A._secret or ''}
end

-- One slot of `a` to `t`, whose record may be given; the caller places `a` afterwards. `by`: the caller begins this lease in the same step,
-- unless it may not; by.answer is what the POST needs then.
local function grant(a, A, t, sig, rank, T, by)
  -- CHECK_GRANT (tests compile a checker in here)
  T = T or runnable(t)
  local number = string.format('%d', (T.grants or 0) + 1)
  local id = t .. ':' .. number
  unqueue(t, sig, rank)
  call('ZREM', TASKS .. T.state, t)
  call('ZADD', TASKS .. 'running', now, t)
  call('SADD', OF_AGENT .. a, id)
  if by and may_begin(T, by.worker) then
    call('HSET', TASK .. t, 'state', 'running', 'agent', a, 'lease', id, 'grants', number, begun(id, by, t, a, A, T))
    by.answer = needs(id, t, a, A, T)
  else
    call('HSET', TASK .. t, 'state', 'running', 'agent', a, 'lease', id, 'grants', number, 'granted_at', now, 'wait', 10)
    call('ZADD', LEASES, now + 10 * S, id)
  end
  granted[id] = {t, a, A, T}
  A.active, A._seq, A.used = A.active + 1, math.floor(now / 1000) % 2 ^ 39, true -- last used, in ms: wraps after 17 years
  return id .. ' ' .. rank .. ' ' .. (T.retries or '0')
end

-- Memberships first, then grants while a slot is free and a task fits, then its place. The other order grants to an agent that has just
-- stopped working. What a script leaves at its limit of grants the sweep goes on with. `by`: the caller begins the step's first grant.
-- `had_room`: it had a free slot before too. Nothing waits beside it then; what is runnable is queued, and a job that is under way will look
-- for a slot, which costs less than a grant and a job that finds nothing to do.
local function settle(a, grants, A, by, had_room)
  A = A or agent(a)
  if not A then return grants end
  if A._gone and A.active == 0 then
    forget(a, A)
    return grants
  end
  local tenth = tonumber(A._tenth)
  refresh(a, A)
  if tonumber(A._tenth) ~= tenth then had_room = nil end -- it may have come to fit what waits
  while has_slot(A) and not had_room do
    if #grants >= GRANTS then
      call('SADD', UNSETTLED, a)
      break
    end
    local t, sig, rank = best(a)
    if not t then break end
    grants[#grants + 1] = grant(a, A, t, sig, rank, nil, not grants[1] and by)
  end
  place(a, A)
  return grants
end

-- A free agent (of the 17 best) that the task has not met.
local function untried(tried, sig)
  for _, b in ipairs(call('ZRANGE', score_key(sig), 0, 16)) do
    if not tried:find(' ' .. b .. ' ', 1, true) then return b end
  end
end

-- While a free agent and a task for it exist: one slot of the lowest-score agent to the best task for that agent, then look again; an agent
-- that the task has met gives way to one that it has not. Ends early when `wanted`, whose record is W, has its slot.
-- `by`: the caller begins the grant of `wanted`, or the step's first one when there is no `wanted`.
local function match(sig, grants, by, wanted, W)
  while #grants < GRANTS do
    local a = call('ZRANGE', score_key(sig), 0, 0)[1]
    if not a then break end
    local t, s, rank = best(a)
    if not t then break end
    local T = t == wanted and W or runnable(t)
    if T.tried and T.tried:find(' ' .. a .. ' ', 1, true) then
      local b = untried(T.tried, s)
      if b then
        a = b
        t, s, rank = best(b)
        T = t == wanted and W or runnable(t)
      end
    end
    local A = agent(a)
    local begins
    if wanted then begins = t == wanted else begins = not grants[1] end
    grants[#grants + 1] = grant(a, A, t, s, rank, T, begins and by)
    place(a, A)
    if t == wanted then break end
  end
  return grants
end
