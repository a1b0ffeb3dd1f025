-- needs: order, agent, grant
-- register(agent, terms, heartbeat_timeout µs, instance, weighted, owner, may, field, value…): add or replace; live leases stay.
-- terms: "\nany\ncap:x\ntype:y\n". Inactive, error and a pending delete become active; maintenance, busy and draining stay.
-- owner: the API key that registers, '' without one. may: over whose agent. '': its own, or nobody's that has no secret; 'any': every
-- owner's, who keeps it; else the sealed secret that the caller has shown to know, and it becomes the caller's.
-- Returns {status, 1 the first time, registered at (ISO), grants…}; {full}; {foreign}.
local a, terms, timeout, instance = unpack(ARGV, 1, 4)
local weighted, owner, may = ARGV[5] == '1', ARGV[6], ARGV[7]
local old = agent(a)
local owned = old and call('HGET', AGENT .. a, '_owner') or nil
if old and may ~= 'any' and owned ~= owner and (owned or old._secret) and old._secret ~= may then return {'foreign'} end
if may == 'any' then owner = owned or owner end
if owner ~= '' then terms = terms .. 'own:' .. owner .. '\n' end
if not old and call('ZCARD', AGENTS) >= MAX_AGENTS then return {'full'} end
local status = old and old.status
if not status or status == 'inactive' or status == 'error' or old._gone then status = 'active' end
local registered = iso(now)

if old then pass_when_full() end -- a new one is refused when Redis is out of memory
if old then index(a, old._terms, 'SREM') end
index(a, terms, 'SADD')
call('ZADD', AGENTS, 0, a)
if owned and owned ~= owner then call('ZREM', OWN_AGENTS .. owned, a) end
if owner ~= '' then call('ZADD', OWN_AGENTS .. owner, 0, a) end
call(weighted and 'SADD' or 'SREM', WEIGHTED, a)
call('HDEL', AGENT .. a, '_gone')
-- _table: a field over 64 bytes makes Redis keep the hash as a table; in a list each of the 19 fields that a grant reads is searched for.
call('HSET', AGENT .. a, 'agent_id', a, '_terms', terms, '_timeout', timeout, '_instance', instance, 'registration_time', registered,
  'last_heartbeat', registered, '_table', string.rep('.', 65), unpack(ARGV, 8))
if owner ~= '' then call('HSET', AGENT .. a, '_owner', owner) end
call('HINCRBY', AGENT .. a, 'version', 1)
if tonumber(timeout) > 0 then call('ZADD', ALIVE, now + timeout, a) else call('ZREM', ALIVE, a) end
if old and old._instance and old._instance ~= instance then call('SADD', RESTARTED, a) end
set_status(a, old or {}, status)
local A = agent(a)
close_breaker(a, A)
A._tenth = math.floor(health(A) * 10 + 0.5)
call('HSET', AGENT .. a, '_tenth', A._tenth)
judge(a, A, call('ZRANGE', SIGS, 0, -1))
return {status, old and 0 or 1, registered, unpack(settle(a, {}, A))}
