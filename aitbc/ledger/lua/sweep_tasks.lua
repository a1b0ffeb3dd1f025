-- needs: order, agent, grant, lifecycle
-- sweep_tasks(most): due tasks into the order; queue timeouts; tasks nobody took for MAX_AGE; old records trimmed by age, number and bytes.
-- Returns {1 when more, grants…}.
local most, grants, more, sigs = tonumber(ARGV[1]), {}, 0, {}
pass_when_full()

local function due(key, before)
  local list = call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', 0, most)
  if #list == most then more = 1 end
  return list
end

for _, t in ipairs(due(TASKS .. 'scheduled', now)) do
  local T = task(t)
  again(t, T, 0)
  sigs[#sigs + 1] = T.sig
end
for _, sig in ipairs(sigs) do match(sig, grants) end

local function expire(t, code)
  local T = task(t)
  if code == 'queue_timeout' then
    if (T.attempt or '0') ~= (T.first or '0') then return call('ZREM', TIMEOUTS, t) end -- it began: the limit is met
    if T.state == 'running' then return call('ZADD', TIMEOUTS, now + S, t) end -- granted: it may begin, or come back
  end
  if T.state ~= 'scheduled' then unqueue(t, T.sig, T.priority) end
  fail(t, T, code, '')
end
for _, t in ipairs(due(TIMEOUTS, now)) do expire(t, 'queue_timeout') end
for _, state in ipairs({'queued', 'waiting'}) do
  for _, t in ipairs(due(TASKS .. state, now - MAX_AGE)) do expire(t, 'expired') end
end

local function trim(state, list)
  for _, t in ipairs(list) do
    if call('HEXISTS', TASK .. t, 'lease') == 0 then erase(t, state) end
  end
end
for _, state in ipairs({'completed', 'failed', 'cancelled'}) do trim(state, due(TASKS .. state, now - KEEP_TASKS)) end
local extra = call('ZCARD', TASKS .. 'failed') - KEEP_DEAD
if extra > 0 then
  trim('failed', call('ZRANGE', TASKS .. 'failed', 0, math.min(extra, most) - 1))
  if extra > most then more = 1 end
end

-- Over the bytes: completed ones first, dead letters last, the oldest of each.
local left = most
for _, state in ipairs({'completed', 'cancelled', 'failed'}) do
  for _, t in ipairs(call('ZRANGE', TASKS .. state, 0, left)) do
    if tonumber(call('HGET', STATS, 'kept_bytes') or 0) <= KEEP_BYTES then break end
    if left == 0 then more = 1 break end
    trim(state, {t})
    left = left - 1
  end
end
return {more, unpack(grants)}
