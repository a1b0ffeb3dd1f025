"""The agent with the lowest load: what its heartbeats report (mean of cpu, memory and queue) plus the share of its slots in use.

For agents of different size, and for those whose machines do other work that ours shall keep away from: more than speed alone asks for, so
least_response_time answers sooner there. The share is ours and exact, so a stale report does not send everything to one agent until its
next heartbeat.
"""

LOAD = "math.min(16383, math.floor(4 * (A._load or 0) + 4096 * A.active / A.max_concurrency))"
