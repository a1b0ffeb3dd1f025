-- needs: agent
-- list_agents(limit, after): records as read_agent returns them, by id.
local limit, after = tonumber(ARGV[1]), ARGV[2]
local found = {}
for _, a in ipairs(call('ZRANGEBYLEX', AGENTS, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)) do
  local A = agent(a)
  found[#found + 1] = {A.active, math.floor(health(A) * 1000 + 0.5), tonumber(A._timeout), unpack(call('HGETALL', AGENT .. a))}
end
return found
