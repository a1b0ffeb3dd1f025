"""The agent with the fewest live leases; among equals the one used least recently.

For nearly everything: it needs nothing from the agents, and a slow agent gets less by itself.
"""

LOAD = "A.active"
