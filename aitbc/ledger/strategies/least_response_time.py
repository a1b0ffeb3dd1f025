"""The agent that answers soonest: its mean response time × (live leases + 1); an agent not yet measured gets one call at once.

For agents of different speed and short tasks. The mean is exponential (a tenth of each new answer) and halves with each minute without one,
so a bad moment is forgiven. The cost is that of Finagle's Peak EWMA balancer; its steps are 0.2 %.
"""

LOAD = "math.floor(500 * math.log(1 + (A._rt or 1000000 * A.active) / 1000 * (A.active + 1)))"
