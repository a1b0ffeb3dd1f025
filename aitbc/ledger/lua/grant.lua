-- Grants: whatever frees or widens an agent ends in settle(agent), whatever makes tasks runnable ends in match(signature).
-- A list of grants holds `{lease} {rank} {retries by hand}` texts: leases that still need a job. After order and agent.

local watched = {} -- workers whose deadline this script has moved
local granted = {} -- lease → {task, agent, the agent's record, the task's}: for a begin in the same step

local function lease_in(text) return text:sub(1, text:find(' ', 1, true) - 1) end -- of a grant

local function line_of(id) return 'L' .. id:sub(id:find(':', 1, true) + 1) end

-- What a runnable task's grant and begin need of it, its data apart.
local function runnable(t)
  return get(TASK .. t, {'state', 'tried', 'grants', 'retries', 'attempt', 'run_timeout', 'since', 'stamp', 'lines', 'idempotent', 'crashes',
    'poisons', 'priority', 'watched'})
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
  rank_in(LEASES, int(T.deadline + SLACK), id)
  file_in(OF_WORKER .. by.worker, id)
  if not watched[by.worker] then call('ZADD', WORKERS, now + WORKER_TTL, by.worker) end -- one thought dead is watched again
  watched[by.worker] = true
  if is_suspect(T) then call('HSET', SUSPECTS, by.worker, id) end
  if A._instance then call('HSET', TASK .. t, 'instance', A._instance) end
  count(STATS, 'begun', 1)
  count(STATS, 'distribution_us', math.max(0, now - (T.since or T.stamp or now)))
  local line = line_of(id)
  return 'worker', by.worker, 'token', by.token, 'attempt', int(T.attempt), 'deadline', int(T.deadline), 'lines', keep_line(t, T, line:sub(2)),
    line, int(T.attempt) .. '|' .. a .. '|' .. by.token .. '|' .. at
end

-- What the POST needs; aitbc/ledger/leases.py reads it in this order.
local function needs(id, t, a, A, T)
  local data = call('HMGET', TASK .. t, 'task_data', 'requirements', 'traceparent')
  return {id, tonumber(T.attempt), tonumber(T.deadline), T.deadline - now, T.priority, data[1] or '', data[2] or '',
    tonumber(T.retries or 0), T.idempotent or '', a, A._url or '', A._kind or '', A._secret or '', data[3] or ''}
end

-- Its next turn: 1 ÷ weight after this one, which is no earlier than the round of the task's signature, so that an agent that was away is
-- owed nothing. The fleet's round, the furthest of them, is where a new signature begins: by it alone, weights would not count among the
-- agents of a signature that is asked for seldom, because it would have passed all of them between two of its tasks.
local function take_turn(a, A, sig)
  local round = math.max(A._turn or 0, call('HGET', SIG .. sig, 'round') or setting('round') or 0)
  A._turn = round + math.floor(TURN / math.max(0.001, A.weight or 1))
  call('HSET', SIG .. sig, 'round', int(round))
  call('HSET', AGENT .. a, '_turn', int(A._turn))
  if round <= tonumber(setting('round') or 0) then return end
  call('HSET', LEDGER, 'round', int(round))
  settings.round = round
end

-- One slot of `a` to the task `best`, whose record may be given; the caller places `a` afterwards. `by`: the caller begins this lease in the
-- same step, unless it may not; by.answer is what the POST needs then.
local function grant(a, A, best, T, by)
  local t = best.t
  -- CHECK_GRANT (tests compile a checker in here)
  T = T or runnable(t)
  local number = string.format('%d', (T.grants or 0) + 1)
  local id = t .. ':' .. number
  call('ZREM', WAITING .. best.head, t)
  set_head(best.head, best.rank, best.behind)
  rank_out(TASKS .. T.state, t)
  rank_in(TASKS .. 'running', at, t)
  call('SADD', OF_AGENT .. a, id)
  if by and may_begin(T, by.worker) then
    call('HSET', TASK .. t, 'state', 'running', 'agent', a, 'lease', id, 'grants', number, begun(id, by, t, a, A, T))
    by.answer = needs(id, t, a, A, T)
  else
    call('HSET', TASK .. t, 'state', 'running', 'agent', a, 'lease', id, 'grants', number, 'granted_at', at, 'wait', 10)
    rank_in(LEASES, int(now + 10 * S), id)
  end
  if T.watched then tell(t, 'running', 'a', a) end
  granted[id] = {t, a, A, T}
  if setting('weighted_round_robin') then take_turn(a, A, best.sig) end
  A.active, A._seq, A.used = A.active + 1, math.floor(now / 1000) % 2 ^ 39, true -- last used, in ms: wraps after 17 years
  return id .. ' ' .. best.rank .. ' ' .. (T.retries or '0')
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
    local oldest = best(a)
    if not oldest then break end
    grants[#grants + 1] = grant(a, A, oldest, nil, not grants[1] and by)
  end
  place(a, A)
  return grants
end

-- Free agents of a signature by how near they are to a task's key on the ring, seen from PROBES points.
local function near_on_ring(sig, t)
  local key, of, way, found = score_key(sig), get(TASK .. t, {'affinity', 'task_data'}), {}, {}
  local hash = redis.sha1hex(of.affinity or (of.task_data or ''):sub(1, HASHED))
  local start, stride = tonumber(hash:sub(1, 12), 16), tonumber(hash:sub(13, 24), 16)
  for i = 0, PROBES - 1 do
    local point = (start + i * stride) % 2 ^ 48
    local next = call('ZRANGEBYSCORE', key, int(point), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not next[1] then next = call('ZRANGE', key, 0, 0, 'WITHSCORES') end
    local a = next[1]
    if not a then break end
    if not way[a] then found[#found + 1] = a end
    way[a] = math.min(way[a] or 2 ^ 48, (next[2] - point) % 2 ^ 48)
  end
  table.sort(found, function(a, b) return way[a] < way[b] end)
  return found
end

-- A free agent that the task has not met: of those near its key on the ring, when that decides, then of the 17 best.
local function untried(tried, sig, t)
  local near = setting('strategy') == 'consistent_hash' and near_on_ring(sig, t) or {}
  for _, agents in ipairs({near, call('ZRANGE', score_key(sig), 0, 16)}) do
    for _, b in ipairs(agents) do
      if not tried:find(' ' .. b .. ' ', 1, true) then return b end
    end
  end
end

-- The nearest that has no more than 1.25 × the mean of leases of those near, this one included: one of them always has less. Not the
-- fleet's mean: beside many idle agents that do not fit, each of the few that do would be over it (decision 0020).
local function on_ring(sig, t)
  local found, active, sum = near_on_ring(sig, t), {}, 1
  for i, a in ipairs(found) do
    active[i] = call('SCARD', OF_AGENT .. a)
    sum = sum + active[i]
  end
  for i, a in ipairs(found) do
    if active[i] < math.ceil(1.25 * sum / #found) then return a end
  end
end

-- The free agent for a signature's tasks, and the best task for that agent. consistent_hash asks the task first: its own agent takes it, or
-- something better that fits that one too, whose own agent is asked then, and so on; each is better than the one before.
local function pick(sig)
  local a = call('ZRANGE', score_key(sig), 0, 0)[1]
  local oldest = a and best(a)
  if not oldest or setting('strategy') ~= 'consistent_hash' then return a, oldest end
  for _ = 1, 8 do
    local t = oldest.t
    a = on_ring(oldest.sig, t)
    oldest = best(a)
    if oldest.t == t then break end
  end
  return a, oldest
end

-- While a free agent and a task for it exist: one slot of the strategy's agent to the best task for that agent, then look again; an agent
-- that the task has met gives way to one that it has not. Ends early when `wanted`, whose record is W, has its slot.
-- `by`: the caller begins the grant of `wanted`, or the step's first one when there is no `wanted`.
local function match(sig, grants, by, wanted, W)
  while #grants < GRANTS do
    local a, oldest = pick(sig)
    if not oldest then break end
    local T = oldest.t == wanted and W or runnable(oldest.t)
    if T.tried and T.tried:find(' ' .. a .. ' ', 1, true) then
      local b = untried(T.tried, oldest.sig, oldest.t)
      if b then
        a, oldest = b, best(b)
        T = oldest.t == wanted and W or runnable(oldest.t)
      end
    end
    local A = agent(a)
    local begins
    if wanted then begins = oldest.t == wanted else begins = not grants[1] end
    grants[#grants + 1] = grant(a, A, oldest, T, begins and by)
    place(a, A)
    if oldest.t == wanted then break end
  end
  return grants
end
