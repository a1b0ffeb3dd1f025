-- needs: agent
-- stats(): {counters, five queue sizes, paused ranks, live leases, active agents, strategy, weights of agents that have one}.
local counters = call('HMGET', STATS, 'begun', 'completed', 'failed', 'attempts_good', 'attempts_bad', 'distribution_us')
for i = 1, 6 do counters[i] = counters[i] or '0' end
local sizes, paused, weights = {}, {}, {}
for p = 0, 4 do
  local n = 0
  for _, sig in ipairs(call('ZRANGE', HEADS .. p, 0, -1)) do n = n + call('ZCARD', WAITING .. sig .. ':' .. p) end
  sizes[#sizes + 1] = n
  if setting(tostring(p)) then paused[#paused + 1] = p end
end
for _, a in ipairs(call('SRANDMEMBER', WEIGHTED, 100)) do
  local weight = call('HGET', AGENT .. a, 'weight')
  if weight then
    weights[#weights + 1] = a
    weights[#weights + 1] = weight
  end
end
return {counters, sizes, paused, call('ZCARD', LEASES), call('SCARD', ACTIVE), setting('strategy') or DEFAULT_STRATEGY, weights}
