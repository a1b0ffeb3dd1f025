-- needs: order, agent, grant, lifecycle
-- drop(task): forget a dead letter. Returns 1, or 0 when it is none.
local t = ARGV[1]
local T = get(TASK .. t, {'state', 'lease'})
if T.state ~= 'failed' or T.lease then return 0 end
erase(t, 'failed')
return 1
