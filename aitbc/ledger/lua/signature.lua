-- Signatures: shared by tasks with equal requirements; filled and dropped in steps over their smallest base set. After agent.

-- One step of filling or dropping: at most `page` agents. Returns whether more is to do.
local function build(sig, page)
  local G = get(SIG .. sig, 'building', 'base', 'cursor')
  if not G.building then
    call('SREM', BUILDING, sig)
    return false
  end
  local found = call('SSCAN', WITH .. G.base, G.cursor or '0', 'COUNT', page)
  for _, a in ipairs(found[2]) do
    local A = agent(a)
    if A then
      judge(a, A, {sig})
      if has_slot(A) and call('SISMEMBER', SIGS_OF .. a, sig) == 1 then place(a, A, {sig}) end
    end
  end
  if found[1] ~= '0' then
    call('HSET', SIG .. sig, 'cursor', found[1])
    return true
  end
  call('SREM', BUILDING, sig)
  call('HDEL', SIG .. sig, 'building', 'cursor')
  if G.building == 'drop' then
    call('DEL', SIG .. sig)
    call('ZREM', SIGS, sig)
    call('SREM', FLOORS, sig)
  end
  return false
end

local function start(sig, what, base)
  call('HSET', SIG .. sig, 'building', what, 'cursor', 0, 'base', base)
  call('SADD', BUILDING, sig)
end

local function smallest(terms)
  local base, least
  for term in ('any\n' .. terms):gmatch('[^\n]+') do
    local size = call('SCARD', WITH .. term)
    if not least or size < least then base, least = term, size end
  end
  return base
end

-- A signature may be used when it exists or there is room for one more; checked before the first write.
local function may_use(sig) return call('EXISTS', SIG .. sig) == 1 or call('ZCARD', SIGS) < MAX_SIGS end

-- Whether one more live task may be; checked before the first write.
local function may_live()
  local n = get(STATS, 'submitted', 'retried', 'completed', 'failed', 'cancelled')
  return (n.submitted or 0) + (n.retried or 0) - (n.completed or 0) - (n.failed or 0) - (n.cancelled or 0) < MAX_LIVE
end

-- One more live task of it; a new one is filled, its first step at once.
local function use(sig, terms, floor)
  local known = call('HMGET', SIG .. sig, 'floor', 'building')
  call('ZADD', SIGS, now, sig)
  call('HINCRBY', SIG .. sig, 'live', 1)
  if not known[1] then
    call('HSET', SIG .. sig, 'terms', terms, 'floor', floor)
    if tonumber(floor) > 0 then call('SADD', FLOORS, sig) end
  end
  if not known[1] or known[2] == 'drop' then
    start(sig, 'fill', smallest(terms))
    build(sig, BUILD_PAGE)
  end
end
