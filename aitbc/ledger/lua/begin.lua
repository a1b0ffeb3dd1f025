-- needs: order, agent, grant, lifecycle
-- begin(lease, worker, token hash). The first comer wins; the same comer gets the same answer.
-- Returns {'', needs…}; {why, '', grants…}: gone, begun, returned (its agent takes no work now: the task waits again, its stamp kept) or suspect (this
-- worker holds another; the task comes again in a second).
local id, worker, token = unpack(ARGV)
local answer, why, L = try_begin(id, worker, token)
if answer then return answered('', answer, {}) end
if why == 'refused' then return answered('returned', nil, hand_back(id, L, 0, {})) end
if why == 'suspect' then return answered('suspect', nil, hand_back(id, L, S, {})) end
return {why}
