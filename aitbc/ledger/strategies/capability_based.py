"""Specialists first: the agent with the fewest capabilities that fits; among equals the smallest share of slots in use.

For fleets of specialists and generalists: those who can do everything stay free for what only they can do.
"""

LOAD = r"math.min(255, select(2, A._terms:gsub('\ncap:', ''))) * 64 + math.floor(63 * A.active / A.max_concurrency)"
