-- registry(term…): {agents, services, capabilities, last sweep µs or '', agents with each term…}
local answer = {call('ZCARD', AGENTS), call('SCARD', TERMS .. 'svc'), call('SCARD', TERMS .. 'cap'), call('HGET', LEDGER, 'swept') or ''}
for _, term in ipairs(ARGV) do answer[#answer + 1] = call('SCARD', WITH .. term) end
return answer
