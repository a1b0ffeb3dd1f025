-- needs: order, agent, grant
-- set_status(agent, status, load metrics, load, version…): by hand, when its version is one of these or none is given; or `removed`: drain,
-- gone with its last lease. `active` undoes a drain, a pending delete and an open breaker. Granted leases come back by themselves: begin hands them back.
-- Returns {status, updated at (ISO), grants…}; {} for an unknown agent; {version, its version} when it has another.
local a, status, metrics, load = unpack(ARGV)
local A = get(AGENT .. a, {'status', '_timeout', 'version'})
if not A.status then return {} end
if not one_of(A.version, 5) then
  if A.status == (status == 'removed' and 'draining' or status) then return {A.status, iso(now)} end -- a repeat
  return {'version', A.version}
end
pass_when_full()
if status == 'active' then
  call('HDEL', AGENT .. a, '_gone')
  close_breaker(a, A)
  if tonumber(A._timeout) > 0 then call('ZADD', ALIVE, now + A._timeout, a) end
elseif status == 'removed' then
  call('HSET', AGENT .. a, '_gone', 1)
  status = 'draining'
end
set_status(a, A, status)
call('HINCRBY', AGENT .. a, 'version', 1)
if metrics ~= '' then call('HSET', AGENT .. a, 'load_metrics', metrics, '_load', load) end
return {status, iso(now), unpack(settle(a, {}))}
