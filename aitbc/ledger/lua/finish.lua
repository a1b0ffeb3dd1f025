-- needs: order, agent, grant, lifecycle, feedback
-- finish(lease, worker, token hash, verdict, result or message, error code, http status, agent says, pause µs, digest, spare token hash)
-- verdict: completed, final, counted, unstarted, stopped. `lease` may be a task id when only the token is known (callbacks).
-- Returns {state, needs of the first grant or '', grants…}; the same in a repeat; {different}; {gone}; {unknown}.
-- A lease that has ended changes nothing. The spare token begins the first grant in the same step.
local id, worker, token, verdict, body, code, http, says, pause, digest, spare = unpack(ARGV)
if not id:find(':', 1, true) then id = by_token(id, token) end
if not id then return {'unknown'} end
local T, old = lease(id)
local t = (T or old).task

-- The first grant begun with the spare token; in a repeat, if it is still that one.
local function reply(word, grants)
  local first = ''
  if spare ~= '' and grants[1] then
    local lease_id = grants[1]:match('^%S+')
    local made = granted[lease_id]
    first = made and begin(lease_id, worker, spare, unpack(made)) or not made and try_begin(lease_id, worker, spare) or ''
    if first ~= '' then table.remove(grants, 1) end
  end
  return {word, first, unpack(grants)}
end

if not T then
  local line, kept = old[line_of(id)], call('HGET', TASK .. t, 'R' .. line_of(id))
  if not line or line:match('^[^|]*|[^|]*|([^|]*)') ~= token then return {'unknown'} end
  if not kept then return {'gone'} end
  local same, word, list = kept:match('^(%S*) (%S*) ?(.*)$')
  if same ~= digest then return {'different'} end
  local grants = {}
  for text in list:gmatch('%S+ %d+ %d+') do grants[#grants + 1] = text end
  return reply(word, grants)
end
if T.token ~= token then return {'unknown'} end

free(id, T)
local a, grants = T.agent, {}
local A = agent(a)
feed(a, A, says, tonumber(pause))
call('HINCRBY', STATS, verdict == 'completed' and 'attempts_good' or 'attempts_bad', 1)
if T.state ~= 'running' then call('HSET', TASK .. t, 'lease', '') -- cancelled meanwhile
elseif verdict == 'completed' then finished(t, T, 'completed', 'result', body)
else failed(t, T, verdict, code, body) end
if T.state == 'waiting' then
  refresh(a, A)
  place(a, A) -- shown as it is now, before the task may go elsewhere
  match(T.sig, grants)
  A = agent(a)
end
settle(a, grants, A)
call('HSET', TASK .. t, line_of(id), closing(T, id, verdict, http, code),
  'R' .. line_of(id), digest .. ' ' .. T.state .. ' ' .. table.concat(grants, ' '))
return reply(T.state, grants)
