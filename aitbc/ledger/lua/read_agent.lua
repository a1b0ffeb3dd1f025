-- needs: agent
-- read_agent(agent): {active, health now in thousandths, heartbeat timeout µs, field, value…}; {} for an unknown agent.
local A = agent(ARGV[1])
if not A then return {} end
return {A.active, math.floor(health(A) * 1000 + 0.5), tonumber(A._timeout), unpack(call('HGETALL', AGENT .. ARGV[1]))}
