-- needs: order, agent, grant, lifecycle
-- cancel(task, version…). Final at once. A granted lease is freed; a begun one stays live and counted until it ends, 30 s or its own end at most.
-- Returns {state, grants…}: cancelled, or the terminal state that stands; {unknown}; {version, its version} when none of those given is its.
local t = ARGV[1]
local T = task(t)
if not T.state then return {'unknown'} end
if T.state == 'completed' or T.state == 'failed' or T.state == 'cancelled' then return {T.state} end
if not one_of(version_of(T), 2) then return {'version', version_of(T)} end
local grants, id = {}, T.lease
local running = T.state == 'running'
if T.state == 'queued' or T.state == 'waiting' then unqueue(t, T.sig, T.priority) end
if not running then pass_when_full() end
T.keeps_lease = running and T.token
finished(t, T, 'cancelled', 'error_code', 'cancelled')
if running and not T.token then
  free(id, T)
  count(STATS, 'returned', 1)
  settle(T.agent, grants)
elseif running then
  call('HSET', TASK .. t, 'cancelling', 1)
  call('ZADD', LEASES, 'LT', now + SLACK, id) -- never later than it would have ended anyway
  call('SADD', CANCEL_AGENT .. T.agent, id)
  if not T.async then
    call('SADD', CANCEL_WORKER .. T.worker, id)
    call('PUBLISH', CANCEL_CHANNEL .. T.worker, id)
  end
end
return {'cancelled', unpack(grants)}
