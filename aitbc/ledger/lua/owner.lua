-- owner(kind, id): the API key that an agent or a task belongs to, '' when to none; nil for an unknown one.
local key, name = AGENT .. ARGV[2], '_owner'
if ARGV[1] == 'task' then key, name = TASK .. ARGV[2], 'owner' end
return call('HGET', key, name) or (call('EXISTS', key) == 1 and '')
