"""The same agent for the same `affinity_key` (or, without one, the same task_data), as long as it has room.

For agents that keep something warm: a cache, a model, a session. A key's agent is the nearest on a ring of the free ones, seen from seven
points (multi-probe consistent hashing: Appleton and O'Reilly, 2015). One that has over 1.25 × the mean of leases of those seen is passed
over (bounded loads: Mirrokni, Thorup and Zadimoghaddam, 2018, on a sample). When all agents are full, a freed slot takes the best waiting
task, whatever its key.
"""

SCORE = "tonumber(redis.sha1hex(a):sub(1, 12), 16)"
