-- needs: order, agent, grant, lifecycle
-- sweep_leases(most): leases whose time has come, leases of dead workers, then 202 leases of restarted agents.
-- Granted: a job again after 10, 20, 40 … s, back into the order after 120 s. Begun: ended past `expires` or deadline + 30 s.
-- Returns {1 when more, grants that need a job…}.
local most, grants, more = tonumber(ARGV[1]), {}, 0
local quiet = quiet_since()
pass_when_full()

local function granted_overdue(id, L)
  if now - L.granted_at >= 120 * S then return hand_back(id, L, 0, grants) end
  local wait = tonumber(L.wait) * 2
  grants[#grants + 1] = id .. ' ' .. L.priority .. ' ' .. (L.retries or '0')
  call('ZADD', LEASES, math.min(now + wait * S, L.granted_at + 120 * S), id)
  call('HSET', TASK .. L.task, 'wait', wait)
end

local function begun_overdue(id, L)
  local late = now >= L.deadline + SLACK
  if L.async and not L.cancelling and not late and now < quiet + RENEWAL then return call('ZADD', LEASES, quiet + RENEWAL, id) end
  return broken(id, L, 'counted', L.cancelling and 'cancelled' or late and 'run_timeout' or 'agent_failed', grants)
end

local due = call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, most)
if #due == most then more = 1 end
for _, id in ipairs(due) do
  local L = lease(id)
  if L.token then begun_overdue(id, L) else granted_overdue(id, L) end
end

-- When a worker with a suspect dies, only the suspect's crashes rise: its neighbours were not the cause.
local function bury(w)
  local suspect, held = call('HGET', SUSPECTS, w), call('SRANDMEMBER', OF_WORKER .. w, most)
  table.sort(held, function(a, b) return b == suspect and a ~= suspect end) -- last: its verdict clears what comes after it, not before
  for _, id in ipairs(held) do broken(id, lease(id), (not suspect or id == suspect) and 'crash' or 'lost', 'worker_lost', grants) end
  if #held == most then
    more = 1
    if suspect then call('HSET', SUSPECTS, w, suspect) end
  else
    call('ZREM', WORKERS, w)
    call('ZREM', POLLING, w)
    call('HDEL', SUSPECTS, w)
    call('HDEL', ROOM, w)
    call('DEL', CANCEL_WORKER .. w, TOLD .. w)
  end
end
for _, w in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', now, 'LIMIT', 0, 16)) do
  if now < quiet + WORKER_TTL then call('ZADD', WORKERS, quiet + WORKER_TTL, w) else bury(w) end
end

for _, a in ipairs(call('SRANDMEMBER', RESTARTED, 4)) do
  local instance, ended = call('HGET', AGENT .. a, '_instance'), 0
  for _, id in ipairs(call('SMEMBERS', OF_AGENT .. a)) do
    local L = lease(id)
    if L.async and (L.instance or '') ~= (instance or '') then
      broken(id, L, 'stopped', 'agent_restarted', grants)
      ended = ended + 1
    end
    if ended == most then
      more = 1
      break
    end
  end
  if ended < most then call('SREM', RESTARTED, a) end
end
return {more, unpack(grants)}
