-- Rescore: one step of a switch of strategy. After agent.
local function drop_epoch(epoch)
  for _, sig in ipairs(call('ZRANGE', SIGS, 0, -1)) do call('UNLINK', SCORE .. epoch .. ':' .. sig) end
end

-- Places `page` more agents in both epochs; at the end the next one decides. Returns whether more is to do.
local function rescore(page)
  local epoch = setting('next_epoch')
  if not epoch then return false end
  local found = call('SSCAN', WITH .. 'any', call('HGET', LEDGER, 'next_cursor') or '0', 'COUNT', page)
  for _, a in ipairs(found[2]) do
    local A = agent(a)
    if A then place(a, A) end
  end
  if found[1] ~= '0' then
    call('HSET', LEDGER, 'next_cursor', found[1])
    return true
  end
  local old = setting('epoch') or '0'
  call('HSET', LEDGER, 'strategy', setting('next_strategy'), 'epoch', epoch)
  call('HDEL', LEDGER, 'next_strategy', 'next_epoch', 'next_cursor')
  drop_epoch(old)
  settings, sets, fields = nil
  return false
end
