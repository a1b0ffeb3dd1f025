-- needs: agent
-- discover(limit, health floor in tenths, term…): records (as read_agent) of agents that have every term. Reads the smallest index set, at
-- most 20,000 agents of it, and stops after PAGE_BYTES.
local limit, floor = tonumber(ARGV[1]), tonumber(ARGV[2])
local base, least
for i = 3, #ARGV do
  local size = call('SCARD', WITH .. ARGV[i])
  if not least or size < least then base, least = ARGV[i], size end
end
local function fits(a)
  for i = 3, #ARGV do
    if ARGV[i] ~= base and call('SISMEMBER', WITH .. ARGV[i], a) == 0 then return false end
  end
  return true
end
local found, seen, looked, bytes, cursor = {}, {}, 0, 0, '0'
repeat
  local page = call('SSCAN', WITH .. base, cursor, 'COUNT', 500)
  cursor = page[1]
  for _, a in ipairs(page[2]) do
    looked = looked + 1
    local A = #found < limit and bytes <= PAGE_BYTES and not seen[a] and fits(a) and agent(a)
    seen[a] = true
    if A and math.floor(health(A) * 10 + 0.5) >= floor then
      local size
      found[#found + 1], size = shown(a, A)
      bytes = bytes + size
    end
  end
until cursor == '0' or #found >= limit or bytes > PAGE_BYTES or looked >= 20000
return found
