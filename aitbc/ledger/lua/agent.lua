-- Agents: what they satisfy, where they stand, how healthy they are. After prelude.

local function is_timed() return setting('least_response_time') or setting('predictive') end

-- What a step needs of an agent's record: some of it for one strategy alone, and nothing is read in vain on the hot path.
local fields
local function agent(a)
  if not fields then
    fields = {'status', 'max_concurrency', 'breaker', 'health_score', '_health_at', '_tenth', '_terms', '_timeout', '_instance', '_url',
      '_kind', '_secret', '_load', '_fails', '_opened', '_seq', '_shown', '_listed', '_gone'}
    if setting('weighted_round_robin') then fields[20], fields[21] = 'weight', '_turn' end
    if is_timed() then fields[#fields + 1] = '_rt' end
  end
  local A = get(AGENT .. a, fields)
  if not A.status then return end
  A.active = call('SCARD', OF_AGENT .. a)
  A.max_concurrency = tonumber(A.max_concurrency)
  return A
end

-- Slots it has for us now, in use or not; half open: one lease at a time, the probe.
local function room(A)
  if A.status ~= 'active' or A.breaker == 'open' then return 0 end
  return A.breaker == 'half_open' and 1 or A.max_concurrency
end

local function has_slot(A) return A._url and A.active < room(A) end

-- A score of recent outcomes that drifts back to 1 by time, so that a floor never shuts an agent out for ever.
local function health(A)
  return 1 - (1 - (A.health_score or 1)) * math.exp(-math.max(0, now - (A._health_at or now)) / DRIFT_TIME)
end

local function satisfies(terms, tenth, sig) -- nobody satisfies one that is being dropped
  local want = get(SIG .. sig, {'terms', 'floor', 'building'})
  if not want.floor or want.building == 'drop' or tenth < tonumber(want.floor) then return false end
  for term in (want.terms or ''):gmatch('[^\n]+') do
    if not terms:find('\n' .. term .. '\n', 1, true) then return false end
  end
  return true
end

-- Epochs of its score sets and their strategies: the deciding one, and while a switch is under way the next one too.
local sets
local function score_sets()
  if sets then return sets end
  sets = {[setting('epoch') or '0'] = setting('strategy') or DEFAULT_STRATEGY}
  if setting('next_epoch') then sets[setting('next_epoch')] = setting('next_strategy') end
  return sets
end

local function score_key(sig) return SCORE .. (setting('epoch') or '0') .. ':' .. sig end

-- An agent as readers are shown it (read_agent.lua says how), and its bytes.
local function shown(a, A)
  local fields, bytes = whole(AGENT .. a)
  return {A.active, math.floor(health(A) * 1000 + 0.5), tonumber(A._timeout), unpack(fields)}, bytes
end

-- Into the score sets of these signatures (all it satisfies, when none are named) while it has a free slot, else out of them.
-- Full before and full now writes nothing, however many signatures.
local function place(a, A, sigs)
  local free = has_slot(A) and '1' or nil
  if free or A._shown then
    sigs = sigs or call('SMEMBERS', SIGS_OF .. a)
    for epoch, strategy in pairs(score_sets()) do
      local score = int(score_of(strategy, a, A))
      for _, sig in ipairs(sigs) do
        if free then call('ZADD', SCORE .. epoch .. ':' .. sig, score, a) else call('ZREM', SCORE .. epoch .. ':' .. sig, a) end
      end
    end
  end
  if A.used or free ~= A._shown then call('HSET', AGENT .. a, '_seq', int(A._seq or 0), '_shown', free or '') end
  A._shown, A.used = free, nil
end

-- Which of these signatures it satisfies now.
local function judge(a, A, sigs)
  for _, sig in ipairs(sigs) do
    if satisfies(A._terms, tonumber(A._tenth), sig) then call('SADD', SIGS_OF .. a, sig)
    elseif call('SREM', SIGS_OF .. a, sig) == 1 then
      for epoch in pairs(score_sets()) do call('ZREM', SCORE .. epoch .. ':' .. sig, a) end
    end
  end
end

local function set_status(a, A, status)
  call('SREM', WITH .. 'status:' .. (A.status or ''), a)
  call('SADD', WITH .. 'status:' .. status, a)
  call('HSET', AGENT .. a, 'status', status)
  if status == 'inactive' then call('ZADD', SILENT, now, a) else call('ZREM', SILENT, a) end
  A.status = status
end

local function close_breaker(a, A)
  call('HSET', AGENT .. a, 'breaker', 'closed', '_fails', '', '_opened', '')
  call('ZREM', COOLDOWN, a)
  call('SREM', HALF_OPEN, a)
  A.breaker, A._fails, A._opened = 'closed', nil, nil
end

-- An agent changed: its memberships, not yet its place by score.
local function refresh(a, A)
  local score = health(A)
  local tenth = math.floor(score * 10 + 0.5)
  if tenth ~= tonumber(A._tenth) then
    A._tenth = tenth
    call('HSET', AGENT .. a, '_tenth', tenth)
    judge(a, A, call('SMEMBERS', FLOORS))
    if tenth == 10 then call('ZREM', DRIFT, a) end
  end
  if tenth < 10 then call('ZADD', DRIFT, now + DRIFT_TIME * math.log((1 - score) / (0.95 - tenth / 10)) + S, a) end
  local listed = room(A) > 0 and '1' or nil
  if listed ~= A._listed then
    call(listed and 'SADD' or 'SREM', ACTIVE, a)
    call('HSET', AGENT .. a, '_listed', listed or '')
    A._listed = listed
  end
end

local function index(a, terms, command)
  for term in terms:gmatch('[^\n]+') do
    call(command, WITH .. term, a)
    local kind = term:match('^(svc):') or term:match('^(cap):')
    if kind then call(call('EXISTS', WITH .. term) == 1 and 'SADD' or 'SREM', TERMS .. kind, term) end
  end
end

-- A deleted agent leaves, with its last lease.
local function forget(a, A)
  local owner = call('HGET', AGENT .. a, '_owner')
  if owner then call('ZREM', OWN_AGENTS .. owner, a) end
  index(a, A._terms, 'SREM')
  for _, sig in ipairs(call('SMEMBERS', SIGS_OF .. a)) do
    for epoch in pairs(score_sets()) do call('ZREM', SCORE .. epoch .. ':' .. sig, a) end
  end
  for _, key in ipairs({ALIVE, COOLDOWN, DRIFT, STALE, SILENT, AGENTS}) do call('ZREM', key, a) end
  for _, key in ipairs({ACTIVE, HALF_OPEN, UNSETTLED, RESTARTED, WEIGHTED, WITH .. 'status:' .. A.status}) do call('SREM', key, a) end
  call('DEL', AGENT .. a, SIGS_OF .. a)
end
