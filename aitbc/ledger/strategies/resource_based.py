"""The agent with the lowest load: what its heartbeats report (mean of cpu, memory and queue) plus the share of its slots in use.

The share is ours and exact, so a stale report does not send everything to one agent until its next heartbeat.
"""

LOAD = "math.min(16383, math.floor(4 * (A._load or 0) + 4096 * A.active / A.max_concurrency))"
