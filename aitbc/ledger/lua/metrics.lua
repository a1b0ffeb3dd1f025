-- needs: order, agent
-- metrics(agents, task state…, '', agent status…): what /metrics shows. Its cost grows with signatures (MAX_SIGS), workers (the first 256
-- are asked) and `agents`, of which the first by id are shown: never with all agents or tasks.
-- Returns {counters, histograms, {queued and waiting of rank}, {µs that its oldest has waited}, paused ranks, tasks of each state,
-- {live leases, at workers, with 202}, {agents, may get work, breaker open, half open}, agents of each status, {workers, that take jobs,
-- room, that said how much room}, µs since the last sweep, signatures, strategy, {agent, active, slots, health ‰, may get work, breaker} …}.
local sizes, ages, paused = {}, {}, {}
for p = 0, 4 do
  local n, heads = 0, heads_of(p)
  for _, head in ipairs(heads) do n = n + call('ZCARD', WAITING .. head) end
  sizes[p + 1] = n
  ages[p + 1] = heads[1] and math.max(0, now - (call('ZSCORE', HEADS, heads[1]) - p * RANK + ERA)) or 0
  if setting(tostring(p)) then paused[#paused + 1] = p end
end

local states, statuses, i = {}, {}, 2
while ARGV[i] ~= '' do
  states[#states + 1] = call('ZCARD', TASKS .. ARGV[i])
  i = i + 1
end
for n = i + 1, #ARGV do statuses[#statuses + 1] = call('SCARD', WITH .. 'status:' .. ARGV[n]) end

local held, free, told = places()
local agents = {}
for _, a in ipairs(call('ZRANGE', AGENTS, 0, ARGV[1] - 1)) do
  local A = get(AGENT .. a, {'max_concurrency', 'health_score', '_health_at', '_listed', 'breaker'})
  agents[#agents + 1] = {a, call('SCARD', OF_AGENT .. a), tonumber(A.max_concurrency), math.floor(health(A) * 1000 + 0.5),
    A._listed and 1 or 0, A.breaker or 'closed'}
end
return {call('HGETALL', STATS), call('HGETALL', MEASURED), sizes, ages, paused, states,
  {call('ZCARD', LEASES), held, call('SCARD', ASYNC)},
  {call('ZCARD', AGENTS), call('SCARD', ACTIVE), call('ZCARD', COOLDOWN), call('SCARD', HALF_OPEN)}, statuses,
  {call('ZCARD', WORKERS), call('ZCOUNT', POLLING, at, '+inf'), free, told}, now - (call('HGET', LEDGER, 'swept') or now),
  call('ZCARD', SIGS), setting('strategy') or DEFAULT_STRATEGY, unpack(agents)}
