-- needs: order, agent, grant
-- pause(rank, 1 pause | 0 resume): no new grants from it; what is granted goes on. Returns {grants…}.
local rank, on = ARGV[1], ARGV[2] == '1'
pass_when_full()
if on then
  call('HSET', LEDGER, rank, 1)
  return {}
end
call('HDEL', LEDGER, rank)
local grants = {}
for _, head in ipairs(heads_of(rank)) do match(sig_of(head), grants) end
return grants
