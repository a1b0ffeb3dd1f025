-- needs: order
-- callbacks_due(most): ends of tasks that their callback_url is to be told of now. Each is the caller's for CALLBACK_LEASE; whoever dies with
-- one leaves it to the next. Tries are counted when they end (callback_done), so a repeat costs time only.
-- Returns {task, retries by hand, number of the try, url} for each.
local found = {}
for _, t in ipairs(call('ZRANGEBYSCORE', CALLBACKS, '-inf', at, 'LIMIT', 0, ARGV[1])) do
  if not found[1] then pass_when_full() end
  local T = get(TASK .. t, {'callback', 'callback_tries', 'retries'})
  call('ZADD', CALLBACKS, int(now + CALLBACK_LEASE), t)
  found[#found + 1] = {t, T.retries or '0', (T.callback_tries or 0) + 1, T.callback}
end
return found
