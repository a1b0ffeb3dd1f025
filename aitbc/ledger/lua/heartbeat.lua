-- needs: order, agent, grant
-- heartbeat(agent, load metrics, load, lease…): a sign of life; renews the 202 leases it names. metrics: opaque, '' = unchanged.
-- Returns {status, heartbeat at (ISO), leases to cancel, leases that are not its live 202 work, grants}; {} for an unknown agent.
local a, metrics, load = unpack(ARGV, 1, 3)
local A = get(AGENT .. a, {'status', '_timeout'})
if not A.status then return {} end
local timeout, at, unknown, grants = tonumber(A._timeout), iso(now), {}, {}

pass_when_full()
if timeout > 0 then call('ZADD', ALIVE, now + timeout, a) end
call('HSET', AGENT .. a, 'last_heartbeat', at)
if metrics ~= '' then call('HSET', AGENT .. a, 'load_metrics', metrics, '_load', load) end
for i = 4, #ARGV do
  local id = ARGV[i]
  local t = id:match('^(.*):') or id
  local L = get(TASK .. t, {'lease', 'agent', 'async', 'deadline', 'cancelling'})
  if L.lease ~= id or L.agent ~= a then unknown[#unknown + 1] = id
  elseif L.async and not L.cancelling then
    local expires = math.min(now + RENEWAL, tonumber(L.deadline))
    call('HSET', TASK .. t, 'expires', expires)
    call('ZADD', LEASES, expires == tonumber(L.deadline) and expires + SLACK or expires, id)
  end
end
if A.status == 'inactive' then
  set_status(a, A, 'active')
  settle(a, grants)
elseif metrics ~= '' and (setting('strategy') == 'resource_based' or setting('next_strategy') == 'resource_based') then
  settle(a, grants) -- its score has changed
end
return {A.status, at, call('SMEMBERS', CANCEL_AGENT .. a), unknown, grants}
