-- needs: order, agent, grant
-- sweep_agents(most): overdue heartbeats, breakers that are due, health that has risen, response times that nobody has confirmed, agents left
-- unsettled, agents long gone.
-- Returns {1 when more, grants…}.
local most, grants, more, quiet = tonumber(ARGV[1]), {}, 0, quiet_since()
pass_when_full()

local function due(key, before)
  local list = call('ZRANGEBYSCORE', key, '-inf', before or now, 'LIMIT', 0, most)
  if #list == most then more = 1 end
  return list
end

for _, a in ipairs(due(ALIVE)) do
  local A = get(AGENT .. a, {'status', '_timeout'})
  local allowed = quiet + A._timeout
  if now < allowed then call('ZADD', ALIVE, allowed, a)
  else
    call('ZREM', ALIVE, a)
    if A.status == 'active' then
      set_status(a, A, 'inactive')
      settle(a, grants)
    end
  end
end
for _, a in ipairs(due(COOLDOWN)) do -- half open: one lease at a time until an answer closes it
  call('ZREM', COOLDOWN, a)
  call('HSET', AGENT .. a, 'breaker', 'half_open')
  call('SADD', HALF_OPEN, a)
  local A = get(AGENT .. a, {'status', '_timeout'})
  if A.status == 'error' then
    set_status(a, A, 'active')
    if tonumber(A._timeout) > 0 then call('ZADD', ALIVE, 'NX', now + A._timeout, a) end
  end
  settle(a, grants)
end
for _, a in ipairs(due(DRIFT)) do
  call('ZREM', DRIFT, a)
  settle(a, grants)
end
for _, a in ipairs(due(STALE)) do
  local rt = is_timed() and math.floor((call('HGET', AGENT .. a, '_rt') or 0) / 2) or 0
  call('HSET', AGENT .. a, '_rt', rt > 1000 and int(rt) or '')
  if rt > 1000 then call('ZADD', STALE, int(now + FORGET), a) else call('ZREM', STALE, a) end
  settle(a, grants)
end
for _, a in ipairs(call('SRANDMEMBER', UNSETTLED, 16)) do
  if #grants >= GRANTS then break end
  call('SREM', UNSETTLED, a)
  settle(a, grants)
end
if call('SCARD', UNSETTLED) > 0 then more = 1 end
for _, a in ipairs(due(SILENT, now - KEEP_INACTIVE)) do
  local A = agent(a)
  if A.active == 0 then forget(a, A) else call('ZADD', SILENT, now, a) end
end
return {more, unpack(grants)}
