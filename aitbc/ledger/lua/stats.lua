-- needs: order, agent
-- stats(): {counters, five queue sizes, paused ranks, live leases, active agents, strategy, weights of agents that have one, the outbox: due,
-- delivered, given up}.
local counters = call('HMGET', STATS, 'begun', 'completed', 'failed', 'completed_in_vain', 'attempts_bad', 'distribution_us')
for i = 1, 6 do counters[i] = counters[i] or '0' end
counters[4] = string.format('%.0f', counters[2] + counters[4]) -- attempts that succeeded, their task cancelled or not
local sizes, paused, weights = {}, {}, {}
for p = 0, 4 do
  local n = 0
  for _, head in ipairs(heads_of(p)) do n = n + call('ZCARD', WAITING .. head) end
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
local told = call('HMGET', STATS, 'callbacks_delivered', 'callbacks_given_up')
return {counters, sizes, paused, call('ZCARD', LEASES), call('SCARD', ACTIVE), setting('strategy') or DEFAULT_STRATEGY, weights,
  {call('ZCARD', CALLBACKS), told[1] or '0', told[2] or '0'}}
