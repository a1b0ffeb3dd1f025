-- Grants: whatever frees or widens an agent ends in settle(agent), whatever makes tasks runnable ends in match(signature).
-- A list of grants holds `{lease} {rank} {retries by hand}` texts: leases that still need a job. After order and agent.

local granted = {} -- lease → {task, agent, the agent's record}, for a begin in the same step

-- One slot of `a` to `t`; the caller places `a` afterwards.
local function grant(a, A, t, sig, rank)
  -- CHECK_GRANT (tests compile a checker in here)
  local T = get(TASK .. t, 'state', 'grants', 'retries')
  local number = string.format('%d', (T.grants or 0) + 1)
  local id = t .. ':' .. number
  unqueue(t, sig, rank)
  become(t, T.state, 'running', now, 'agent', a, 'lease', id, 'grants', number, 'granted_at', now, 'wait', 10,
    'token', '', 'worker', '', 'async', '', 'cancelling', '')
  call('ZADD', LEASES, now + 10 * S, id)
  call('SADD', OF_AGENT .. a, id)
  granted[id] = {t, a, A}
  A.active, A._seq = A.active + 1, math.floor(now / 1000) % 2 ^ 39 -- last used, in ms: wraps after 17 years
  return id .. ' ' .. rank .. ' ' .. (T.retries or '0')
end

-- Memberships first, then grants while a slot is free and a task fits, then its place. The other order grants to an agent that has just
-- stopped working. What a script leaves at its limit of grants the sweep goes on with.
local function settle(a, grants, A)
  A = A or agent(a)
  if not A then return grants end
  if A._gone and A.active == 0 then
    forget(a, A)
    return grants
  end
  refresh(a, A)
  while has_slot(A) do
    if #grants >= GRANTS then
      call('SADD', UNSETTLED, a)
      break
    end
    local t, sig, rank = best(a)
    if not t then break end
    grants[#grants + 1] = grant(a, A, t, sig, rank)
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

local function has_head(sig)
  for p = 0, 4 do
    if not setting(tostring(p)) and call('ZSCORE', HEADS .. p, sig) then return true end
  end
end

-- While a head and a free agent exist: one slot of the lowest-score agent to the best task for that agent, then look again; an agent that
-- the task has met gives way to one that it has not. Ends early when `wanted` has its slot.
local function match(sig, grants, wanted)
  while #grants < GRANTS and has_head(sig) do
    local a = call('ZRANGE', score_key(sig), 0, 0)[1]
    if not a then break end
    local t, s, rank = best(a)
    local tried = call('HGET', TASK .. t, 'tried')
    if tried and tried:find(' ' .. a .. ' ', 1, true) then
      local b = untried(tried, s)
      if b then
        a = b
        t, s, rank = best(b)
      end
    end
    local A = agent(a)
    grants[#grants + 1] = grant(a, A, t, s, rank)
    place(a, A)
    if t == wanted then break end
  end
  return grants
end
