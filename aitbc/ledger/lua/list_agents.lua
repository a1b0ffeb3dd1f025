-- needs: agent
-- list_agents(limit, after, owner or ''): {1 when there may be more, records as read_agent returns them, by id…}. Stops after PAGE_BYTES.
local limit, after, owner = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local found, bytes, more = {}, 0, 0
local list = call('ZRANGEBYLEX', owner == '' and AGENTS or OWN_AGENTS .. owner, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)
for i, a in ipairs(list) do
  local size
  found[i], size = shown(a, agent(a))
  bytes = bytes + size
  if i == limit or bytes > PAGE_BYTES then
    more = 1
    break
  end
end
return {more, unpack(found)}
