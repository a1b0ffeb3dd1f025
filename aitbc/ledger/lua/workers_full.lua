-- workers_full(agents): do leases wait for a place in a worker?
-- Returns {leases that wait, places of all workers, the agent with most slots of the first `agents` by id, its slots}; {} when there is room.
local held, free, told = places()
local waiting = call('ZCARD', LEASES) - held - call('SCARD', ASYNC)
if told == 0 or free > 0 or waiting <= 0 then return {} end

local largest, most = '', 0
for _, a in ipairs(call('ZRANGE', AGENTS, 0, ARGV[1] - 1)) do
  local slots = tonumber(call('HGET', AGENT .. a, 'max_concurrency') or 0)
  if slots > most then largest, most = a, slots end
end
return {waiting, held, largest, most}
