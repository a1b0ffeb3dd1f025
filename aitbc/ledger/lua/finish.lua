-- needs: order, agent, grant, lifecycle, feedback
-- finish((lease, worker, token hash, verdict, result or message, error code, http status, agent says, pause µs, digest, spare token hash) ...)
-- verdict: completed, final, counted, unstarted, stopped. `lease` may be a task id when only the token is known (callbacks).
-- Returns for each {state, needs of the first grant… or '', grants…}; the same in a repeat; {different}; {gone}; {unknown}.
-- A lease that has ended changes nothing. The spare token begins the first grant in the same step.
local function finish(id, worker, token, verdict, body, code, http, says, pause, digest, spare)
  if not id:find(':', 1, true) then id = by_token(id, token) end
  if not id then return {'unknown'} end
  local t, line = task_of(id), line_of(id)
  -- What a good end needs of the record; a failure reads the rest.
  local T = get(TASK .. t, {'state', 'sig', 'lease', 'agent', 'worker', 'token', 'async', 'cancelling', 'crashes', 'queue_timeout',
    'callback', 'told', line})

  if T.lease ~= id then
    local fields = fields_of(T[line] or '')
    if fields[3] ~= token then return {'unknown'} end
    if not fields[9] then return {'gone'} end
    local same, word, list = fields[9]:match('^(%S*) (%S*) ?(.*)$')
    if same ~= digest then return {'different'} end
    local grants = {}
    for text in list:gmatch('%S+ %d+ %d+') do grants[#grants + 1] = text end
    local first = spare ~= '' and grants[1] and try_begin(lease_in(grants[1]), worker, spare) -- if it is still this call's
    if first then table.remove(grants, 1) end
    return answered(word, first, grants)
  end
  if T.token ~= token then return {'unknown'} end

  free(id, T)
  local a, grants, by = T.agent, {}, spare ~= '' and {worker = worker, token = spare}
  local A, running = agent(a), T.state == 'running' -- not when it was cancelled meanwhile
  local had_room = A._shown
  feed(a, A, says, tonumber(pause))
  if says == 'ok' and is_timed() then time(a, A, now - fields_of(T[line])[4]) end
  if verdict ~= 'completed' then count(STATS, 'attempts_bad', 1)
  elseif not running then count(STATS, 'completed_in_vain', 1) end
  if running and verdict ~= 'completed' then
    T = task(t, line)
    failed(t, T, verdict, code, body)
  end
  if T.state == 'waiting' then
    refresh(a, A)
    place(a, A) -- shown as it is now, before the task may go elsewhere
    match(T.sig, grants, by)
    A = agent(a)
  end
  settle(a, grants, A, by, had_room)

  local state = running and verdict == 'completed' and 'completed' or T.state
  local closed = closing(T, id, verdict, http, code) .. '|' .. digest .. ' ' .. state .. ' ' .. table.concat(grants, ' ')
  if state == 'completed' then
    T.result = body
    finished(t, T, state, 'result', body, line, closed)
  else
    call('HSET', TASK .. t, line, closed)
    if not running then drop_lease(t) end
  end
  if by and by.answer then table.remove(grants, 1) end
  return answered(state, by and by.answer, grants)
end

return each(11, finish)
