-- Prelude: before every step. Words in capitals are key names and bounds: aitbc/ledger/scripts.py writes their values in their place.
--
-- Time is the ledger's own, in microseconds. Lua does not roll back: a step reads and checks first; after its first write only commands
-- that cannot fail. Never use `..` or tostring on a stamp, time or score: Lua prints 14 digits; as an argument of `call` it keeps 17. int()
-- prints whole numbers exactly and four times faster than `call` does.
local call = redis.call

local clock = call('TIME')
local now = clock[1] * S + clock[2] + OFFSET
local function int(number) return string.format('%d', number) end
local at = string.format('%d', now)

-- The named fields of a hash as a table; absent and empty ones are nil.
local function get(key, names)
  local values, record = call('HMGET', key, unpack(names)), {}
  for i = 1, #names do
    local value = values[i]
    if value and value ~= '' then record[names[i]] = value end
  end
  return record
end

-- Every field and value of a hash, and their bytes: a page ends with the one that goes beyond PAGE_BYTES.
local function whole(key)
  local fields, bytes = call('HGETALL', key), 0
  for _, text in ipairs(fields) do bytes = bytes + #text end
  return fields, bytes
end

-- Whether a value is one of the step's arguments from this one on; none of them: whatever it is.
local function one_of(value, first)
  for i = first, #ARGV do
    if ARGV[i] == value then return true end
  end
  return #ARGV < first
end

-- Members of sets that no step of the same script reads: listings by state, leases by their end, leases of a worker. A script that takes many
-- steps keeps what came of each member and writes a set once, at its end: a command costs more than what it does.
local kept
local function keep(add, remove, key, member, value)
  if not kept then
    if not value then return call(remove, key, member) end
    if add == 'ZADD' then return call(add, key, value, member) end
    return call(add, key, member)
  end
  kept[key] = kept[key] or {add = add, remove = remove, members = {}}
  kept[key].members[member] = value
end
local function rank_in(key, score, member) keep('ZADD', 'ZREM', key, member, score) end
local function rank_out(key, member) keep('ZADD', 'ZREM', key, member, false) end
local function file_in(key, member) keep('SADD', 'SREM', key, member, true) end
local function file_out(key, member) keep('SADD', 'SREM', key, member, false) end

-- What came of a set's members: those that left it, or those that are in it. Lua unpacks no more than 8,000 values.
local function write_set(key, set, removing)
  local command, words = removing and set.remove or set.add, {}
  for member, value in pairs(set.members) do
    if not value == removing then
      if command == 'ZADD' then words[#words + 1] = value end
      words[#words + 1] = member
      if #words >= 4000 then
        call(command, key, unpack(words))
        words = {}
      end
    end
  end
  if words[1] then call(command, key, unpack(words)) end
end

-- Removals first: they pass when Redis is out of memory, and after them the rest does.
local function write_kept()
  for key, set in pairs(kept) do write_set(key, set, true) end
  for key, set in pairs(kept) do write_set(key, set, false) end
end

-- Counters. A script that takes many steps adds them up and writes each once, at its end.
local sums
local function count(key, field, n)
  if not sums then return call('HINCRBY', key, field, n) end
  sums[key] = sums[key] or {}
  sums[key][field] = (sums[key][field] or 0) + n
end

-- Takes a step for each `width` arguments. Its replies in order, each behind its length; an error in place of the one that failed. One flat
-- list: Redis takes a buffer of 16 KiB for each list in a list and, up to version 6, sends each in a system call of its own. The price of a
-- script (its functions, the clock, the settings) is paid once.
local function each(width, step)
  local replies, n = {}, 0
  sums, kept = {}, {}
  for i = 1, #ARGV, width do
    local done, reply = pcall(step, unpack(ARGV, i, i + width - 1))
    n = n + 1
    if done then
      replies[n] = #reply
      for k = 1, #reply do replies[n + k] = reply[k] end
      n = n + #reply
    elseif type(reply) == 'table' then replies[n] = reply
    else replies[n] = redis.error_reply('Error running script ' .. reply) end -- as Redis says it itself
  end
  write_kept()
  for key, fields in pairs(sums) do
    for field, n in pairs(fields) do call('HINCRBY', key, field, n) end
  end
  return replies
end

-- Paused ranks ('0' to '4'), strategy, epochs, grace, poison tasks found, the fleet's round: one read a script. The strategy that decides is
-- true under its own name, and so is the next one while a switch is under way.
local settings
local function setting(name)
  if not settings then
    settings = get(LEDGER, {'0', '1', '2', '3', '4', 'strategy', 'epoch', 'next_strategy', 'next_epoch', 'grace', 'poisons', 'round'})
    local strategy = settings.strategy or DEFAULT_STRATEGY
    settings[strategy], settings[settings.next_strategy or strategy] = true, true
  end
  return settings[name]
end

-- Whether the coordinator, not its agents and workers, has been away (or the clock was set back): since the sweep last looked at the clock.
local function away(swept) return now - swept > 5 * S or now < swept end

-- Nothing counts as silent for less than since this. Redis may have stood still between two scripts of a sweep: each sees for itself.
local function quiet_since()
  if away(tonumber(call('HGET', LEDGER, 'swept') or now)) then return now end
  return tonumber(setting('grace') or 0)
end

-- A first write that passes when Redis is out of memory; after it the others pass too. For steps that have no ZREM of their own.
local function pass_when_full() call('ZREM', LEASES, '') end

-- Of the first 256 workers: calls that they hold, places that are free, and how many said so.
local function places()
  local held, free, told = 0, 0, 0
  for _, w in ipairs(call('ZRANGE', WORKERS, 0, 255)) do
    held = held + call('SCARD', OF_WORKER .. w)
    local room = call('HGET', ROOM, w)
    if room then free, told = free + room, told + 1 end
  end
  return held, free, told
end

-- Microseconds since 1970 as ISO-8601 UTC. Days to date: http://howardhinnant.github.io/date_algorithms.html (civil_from_days).
local function iso(us)
  local floor, seconds = math.floor, math.floor(us / S)
  local z, rest = floor(seconds / 86400) + 719468, seconds % 86400
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local day, month = doy - floor((153 * mp + 2) / 5) + 1, mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00', year, month, day,
    floor(rest / 3600), floor(rest % 3600 / 60), rest % 60, us % S)
end
