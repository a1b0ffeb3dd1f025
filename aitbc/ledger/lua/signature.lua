-- Signatures: shared by tasks with equal requirements; filled and dropped in steps over their smallest base set. After agent.

-- One step of filling or dropping: at most `page` agents. Returns whether more is to do.
local function build(sig, page)
  local G = get(SIG .. sig, {'building', 'base', 'cursor', 'by'})
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
    if G.by and call('HINCRBY', BROUGHT, G.by, -1) < 1 then call('HDEL', BROUGHT, G.by) end
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

-- Why a signature may not be used: it is new, and there is no room for one more, or the API key that brings it has its share; nil: it may.
-- The last check before the first write, since a new one is counted as its key's here: with one command. `by` is empty for admins.
local function unusable(sig, by)
  if call('EXISTS', SIG .. sig) == 1 then return nil end
  if call('ZCARD', SIGS) >= MAX_SIGS then return 'signatures' end
  if by == '' or call('HINCRBY', BROUGHT, by, 1) <= SIGS_SHARE then return nil end
  call('HINCRBY', BROUGHT, by, -1)
  return 'share'
end

-- Whether one more live task may be; checked before the first write.
local function may_live()
  local n = get(STATS, {'submitted', 'retried', 'completed', 'failed', 'cancelled'})
  return (n.submitted or 0) + (n.retried or 0) - (n.completed or 0) - (n.failed or 0) - (n.cancelled or 0) < MAX_LIVE
end

-- One more live task of it; a new one is filled, its first step at once. `by`: who brings it, if it is new.
local function use(sig, terms, floor, by)
  local known = call('HMGET', SIG .. sig, 'floor', 'building')
  call('ZADD', SIGS, now, sig)
  call('HINCRBY', SIG .. sig, 'live', 1)
  if not known[1] then
    call('HSET', SIG .. sig, 'terms', terms, 'floor', floor, 'by', by)
    if tonumber(floor) > 0 then call('SADD', FLOORS, sig) end
  end
  if not known[1] or known[2] == 'drop' then
    start(sig, 'fill', smallest(terms))
    build(sig, BUILD_PAGE)
  end
end
