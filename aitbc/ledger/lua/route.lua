-- needs: order, agent, grant, lifecycle
-- route((task, worker, token hash) ...). Matches the task's signature until it has its slot or nothing fits (those behind it have jobs of their
-- own); the worker begins its grant, or else the first one made, kept in the task so that a repeat finds it.
-- Returns for each {'', needs…, grants of others…} or {why, '', grants…}; why: waiting, suspect, or the state that leaves nothing to do.
local function route(t, worker, token)
  local T = get(TASK .. t, {'state', 'tried', 'grants', 'retries', 'attempt', 'run_timeout', 'since', 'stamp', 'lines', 'idempotent', 'crashes',
    'poisons', 'priority', 'watched', 'sig', 'lease', 'token', 'routed'})
  local before = T.state == 'running' and T.token == token and T.lease or T.routed and T.routed:match('^' .. token .. ' (.*)')
  if before then
    local answer = try_begin(before, worker, token)
    return answered(answer and '' or T.state, answer, {})
  end
  if T.state ~= 'queued' and T.state ~= 'waiting' then return {T.state or 'unknown'} end

  local by = {worker = worker, token = token}
  local grants = match(T.sig, {}, by, t, T)
  local last = grants[#grants] and lease_in(grants[#grants])
  local own = last and granted[last][1] == t
  if T.state == 'queued' and not own then
    become(t, 'queued', 'waiting', T.stamp)
    if T.watched then tell(t, 'waiting') end
  end
  if not grants[1] then return {'waiting'} end
  local id = lease_in(table.remove(grants, own and #grants or 1))
  local answer = by.answer
  if not own then
    call('HSET', TASK .. t, 'routed', token .. ' ' .. id)
    if may_begin(granted[id][4], worker) then answer = begin(id, by, unpack(granted[id])) end
  end
  if not answer then
    hand_back(id, lease(id), S, grants)
  end
  return answered(answer and '' or 'suspect', answer, grants)
end

return each(3, route)
