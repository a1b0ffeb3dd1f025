-- The order: runnable tasks by signature and rank, each by its stamp. `heads` keeps the oldest of each: member `{signature}:{rank}`, which
-- names its list too; score rank × RANK + stamp − ERA, so that the best head of all ranks is the first.

local function new_stamp()
  local stamp = math.max(now, tonumber(call('HGET', LEDGER, 'stamp') or 0) + 1)
  call('HSET', LEDGER, 'stamp', stamp)
  return stamp
end

local function sig_of(head) return head:sub(1, -3) end

local function head_score(rank, stamp) return rank * RANK + stamp - ERA end

local function enqueue(t, sig, rank, stamp)
  local head = sig .. ':' .. rank
  call('ZADD', WAITING .. head, int(stamp), t)
  call('ZADD', HEADS, 'LT', int(head_score(rank, stamp)), head)
end

-- The oldest of a list has this stamp now; nil: it is empty.
local function set_head(head, rank, stamp)
  if stamp then call('ZADD', HEADS, int(head_score(rank, stamp)), head) else call('ZREM', HEADS, head) end
end

local function unqueue(t, sig, rank)
  local head = sig .. ':' .. rank
  call('ZREM', WAITING .. head, t)
  set_head(head, rank, call('ZRANGE', WAITING .. head, 0, 0, 'WITHSCORES')[2])
end

local function heads_of(rank) return call('ZRANGEBYSCORE', HEADS, rank * RANK, rank * RANK + RANK - 1) end

-- From one state's listing to another's (docs/keys.md says by what each is ordered), with further fields of the record.
local function become(t, from, to, at, ...)
  rank_out(TASKS .. from, t)
  rank_in(TASKS .. to, at, t)
  call('HSET', TASK .. t, 'state', to, ...)
end

-- One more entry in the stream: a task's new state, and what goes with it.
local function tell(t, state, ...) call('XADD', EVENTS, 'MAXLEN', '~', KEEP_EVENTS, '*', 't', t, 's', state, ...) end

-- The first head between these scores whose signature agent `a` satisfies. Heads are read in growing pages.
local function first_head(a, least, most)
  local from, page = 0, 2
  while true do
    local heads, sigs = call('ZRANGEBYSCORE', HEADS, least, most, 'LIMIT', from, page), {}
    for i, head in ipairs(heads) do sigs[i] = sig_of(head) end
    local fits = sigs[1] and call('SMISMEMBER', SIGS_OF .. a, unpack(sigs)) or {}
    for i, yes in ipairs(fits) do
      if yes == 1 then return heads[i] end
    end
    if #heads < page then return end
    from, page = from + page, 64
  end
end

-- The best head for agent `a` when a queue is paused, or when a rank weighs AGEING microseconds of waiting: the five oldest are compared.
local function weighed_head(a)
  local best, least
  for p = 0, 4 do
    local head = not setting(tostring(p)) and first_head(a, p * RANK, p * RANK + RANK - 1)
    if head and AGEING == 0 then return head end
    local weight = head and call('ZSCORE', HEADS, head) - p * (RANK - AGEING)
    if head and (not least or weight < least) then best, least = head, weight end
  end
  return best
end

-- The best runnable task that agent `a` satisfies: {task, list, signature, rank, stamp of the one behind it}. Strict: highest priority,
-- then lowest stamp.
local function best(a)
  local head
  if AGEING > 0 or setting('0') or setting('1') or setting('2') or setting('3') or setting('4') then head = weighed_head(a)
  else head = first_head(a, '-inf', '+inf') end
  if not head then return end
  local oldest = call('ZRANGE', WAITING .. head, 0, 1, 'WITHSCORES')
  return {t = oldest[1], head = head, sig = sig_of(head), rank = head:sub(-1), behind = oldest[4]}
end
