"""The agent with the fewest live leases; among equals the one used least recently."""

LOAD = "A.active"
