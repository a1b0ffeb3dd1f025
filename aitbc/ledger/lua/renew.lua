-- needs: order, agent, grant, lifecycle
-- renew(lease or task, token hash, progress): a 202, or its agent's progress: the lease now lives by renewal, no longer by its worker.
-- Returns {ok | cancel, expires}; {gone}; {unknown} for a wrong token. progress: opaque, '' = none.
local id, token, progress = unpack(ARGV)
if not id:find(':', 1, true) then id = by_token(id, token) end
if not id then return {'unknown'} end
local L, old = lease(id)
local line = (L or old)[line_of(id)]
if not line or fields_of(line)[3] ~= token then return {'unknown'} end
if not L then return {'gone'} end
if L.cancelling then return {'cancel', tonumber(L.expires or L.deadline)} end
local expires = math.min(now + RENEWAL, tonumber(L.deadline))
call('ZREM', LEASES, id)
call('ZADD', LEASES, expires == tonumber(L.deadline) and expires + SLACK or expires, id)
call('HSET', TASK .. L.task, 'expires', expires, 'async', 1)
if not L.async then
  call('SREM', OF_WORKER .. L.worker, id)
  call('SADD', ASYNC, id)
  clear_suspect(id, L)
end
if progress ~= '' then
  call('HSET', TASK .. L.task, 'progress', progress, 'told', #progress)
  if L.watched then tell(L.task, 'progress', 'p', #progress <= PROGRESS_BYTES and progress or '') end
end
return {'ok', expires}
