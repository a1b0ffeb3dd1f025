-- needs: agent
-- read_agent(agent): {active, health now in thousandths, heartbeat timeout µs, field, value…}; {} for an unknown agent.
local A = agent(ARGV[1])
if not A then return {} end
return (shown(ARGV[1], A))
