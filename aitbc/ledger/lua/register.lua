-- needs: order, agent, grant
-- register(agent, terms, heartbeat_timeout µs, instance, weighted, field, value…): add or replace; live leases stay.
-- terms: "\nany\ncap:x\ntype:y\n". Inactive, error and a pending delete become active; maintenance, busy and draining stay.
-- Returns {status, 1 the first time, registered at (ISO), grants…}; {full}.
local a, terms, timeout, instance = unpack(ARGV, 1, 4)
local weighted = ARGV[5] == '1'
local old = agent(a)
if not old and call('ZCARD', AGENTS) >= MAX_AGENTS then return {'full'} end
local status = old and old.status
if not status or status == 'inactive' or status == 'error' or old._gone then status = 'active' end
local registered = iso(now)

if old then pass_when_full() end -- a new one is refused when Redis is out of memory
if old then index(a, old._terms, 'SREM') end
index(a, terms, 'SADD')
call('ZADD', AGENTS, 0, a)
call(weighted and 'SADD' or 'SREM', WEIGHTED, a)
call('HDEL', AGENT .. a, '_gone')
call('HSET', AGENT .. a, 'agent_id', a, '_terms', terms, '_timeout', timeout, '_instance', instance, 'registration_time', registered,
  'last_heartbeat', registered, unpack(ARGV, 6))
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
