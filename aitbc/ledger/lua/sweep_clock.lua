-- needs: order, agent, grant, lifecycle
-- sweep_clock(most): the first step of a sweep. A gap since the last one means that the coordinator was away, not the agents: nobody counts
-- as silent for one timeout more. A clock that was set back leaves times that lie further ahead than they may: they are brought near.
-- Returns {1 when more}.
local most = tonumber(ARGV[1])
local swept = tonumber(call('HGET', LEDGER, 'swept') or now)
pass_when_full()
if away(swept) then call('HSET', LEDGER, 'grace', now) end
if now < swept then call('HSET', LEDGER, 'rewound', '1 0') end
call('HSET', LEDGER, 'swept', now)
local set, cursor = (call('HGET', LEDGER, 'rewound') or ''):match('^(%d) (%d+)$')
if not set then return {0} end

-- How far ahead a lease may next be looked at; a begun call's own deadline stays: its worker keeps that time.
local function lease_limit(id)
  local t = id:match('^(.*):')
  local L = get(TASK .. t, {'token', 'async', 'expires', 'cancelling'})
  if L.cancelling then return SLACK end
  if not L.token then return 10 * S end
  if not L.async then return end
  call('HSET', TASK .. t, 'expires', string.format('%.0f', math.min(tonumber(L.expires), now + RENEWAL)))
  return RENEWAL
end
-- A task that waits for its next attempt; a delay that its client asked for ends at a point in time.
local function retry_limit(t)
  local T = task(t)
  return T.attempt and backoff(math.max(1, T.counted or 0, T.attempt - (T.first or 0)), T.stamp)
end
local limits = {
  {WORKERS, function() return WORKER_TTL end},
  {POLLING, function() return WORKER_TTL end},
  {ALIVE, function(a) return tonumber(call('HGET', AGENT .. a, '_timeout')) end},
  {COOLDOWN, function() return PROBE end},
  {LEASES, lease_limit},
  {TASKS .. 'scheduled', retry_limit},
  {CALLBACKS, function() return CALLBACK_PAUSE end},
}
local key, limit = unpack(limits[tonumber(set)])
local page = call('ZSCAN', key, cursor, 'COUNT', most)
for i = 1, #page[2], 2 do
  local member, ahead = page[2][i], page[2][i + 1] - now
  local most_ahead = ahead > 0 and limit(member)
  if most_ahead and ahead > most_ahead then call('ZADD', key, now + most_ahead, member) end
end
if page[1] ~= '0' then call('HSET', LEDGER, 'rewound', set .. ' ' .. page[1])
elseif limits[set + 1] then call('HSET', LEDGER, 'rewound', string.format('%d 0', set + 1))
else
  call('HDEL', LEDGER, 'rewound')
  return {0}
end
return {1}
