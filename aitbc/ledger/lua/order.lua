-- The order: runnable tasks by signature and rank, each by its stamp; `heads` keeps the oldest of each signature.

local function new_stamp()
  local stamp = math.max(now, tonumber(call('HGET', LEDGER, 'stamp') or 0) + 1)
  call('HSET', LEDGER, 'stamp', stamp)
  return stamp
end

local function enqueue(t, sig, rank, stamp)
  call('ZADD', WAITING .. sig .. ':' .. rank, stamp, t)
  call('ZADD', HEADS .. rank, 'LT', stamp, sig)
end

local function unqueue(t, sig, rank)
  local key = WAITING .. sig .. ':' .. rank
  call('ZREM', key, t)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[1] then call('ZADD', HEADS .. rank, first[2], sig) else call('ZREM', HEADS .. rank, sig) end
end

-- From one state's listing to another's (docs/keys.md says by what each is ordered), with further fields of the record.
local function become(t, from, to, at, ...)
  call('ZREM', TASKS .. from, t)
  call('ZADD', TASKS .. to, at, t)
  call('HSET', TASK .. t, 'state', to, ...)
end

-- The oldest head of this rank whose signature agent `a` satisfies: signature, stamp. Heads are read in growing pages.
local function oldest(a, rank)
  local from, page = 0, 2
  while true do
    local heads, names = call('ZRANGE', HEADS .. rank, from, from + page - 1, 'WITHSCORES'), {}
    for i = 1, #heads, 2 do names[#names + 1] = heads[i] end
    local fits = names[1] and call('SMISMEMBER', SIGS_OF .. a, unpack(names)) or {}
    for i, yes in ipairs(fits) do
      if yes == 1 then return names[i], tonumber(heads[2 * i]) end
    end
    if #names < page then return end
    from, page = from + page, 64
  end
end

-- The best runnable task that agent `a` satisfies: task, signature, rank. Strict: highest priority, then lowest stamp. With ageing a rank
-- weighs AGEING microseconds of waiting, so the five oldest are compared.
local function best(a)
  local sig, rank, least
  for p = 0, 4 do
    local candidate, stamp
    if not setting(tostring(p)) then candidate, stamp = oldest(a, p) end
    if candidate and (not least or stamp + p * AGEING < least) then sig, rank, least = candidate, p, stamp + p * AGEING end
    if sig and AGEING == 0 then break end
  end
  if sig then return call('ZRANGE', WAITING .. sig .. ':' .. rank, 0, 0)[1], sig, rank end
end
