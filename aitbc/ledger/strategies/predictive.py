"""The agent that is expected to finish first: mean response time × (live leases + 1) ÷ slots ÷ success rate.

For mixed fleets of different size, speed and reliability. The success rate is the agent's health in tenths; the mean is that of
least_response_time.
"""

LOAD = """math.floor(500 * math.log(1 +
    (A._rt or 1000000 * A.active) / 1000 * (A.active + 1) / A.max_concurrency * 10 / math.max(1, A._tenth)))"""
