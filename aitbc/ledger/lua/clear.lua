-- needs: order, agent, grant, lifecycle
-- clear(rank, limit stamp or 0, most): cancels what is runnable there up to the stamp of the first call, a chunk a call.
-- Returns {cancelled, limit for the next call, 1 when one is needed}.
local rank, limit, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if limit == 0 then limit = tonumber(call('HGET', LEDGER, 'stamp') or 0) end
local n = 0
while n < most do
  local head = call('ZRANGEBYSCORE', HEADS, rank * RANK, head_score(rank, limit), 'LIMIT', 0, 1)[1]
  if not head then return {n, limit, 0} end
  local sig = sig_of(head)
  for _, t in ipairs(call('ZRANGEBYSCORE', WAITING .. head, '-inf', limit, 'LIMIT', 0, most - n)) do
    unqueue(t, sig, rank)
    finished(t, task(t), 'cancelled', 'error_code', 'cancelled')
    n = n + 1
  end
end
return {n, limit, 1}
