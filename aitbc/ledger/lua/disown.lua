-- needs: order, agent, grant, lifecycle
-- disown(lease, worker): the worker never got the reply that began it, so nothing was sent: the attempt ends, the task waits again.
-- Returns {grants…}; nothing when the lease is not this worker's any more.
local id, worker = unpack(ARGV)
local L = lease(id)
if not L or L.worker ~= worker or not L.token or L.async then return {} end
free(id, L)
call('HSET', TASK .. L.task, line_of(id), closing(L, id, 'unstarted', '', ''))
if L.state ~= 'running' then
  drop_lease(L.task)
  return settle(L.agent, {})
end
again(L.task, L, 0)
return rematch(L.sig, L.agent, {})
