"""Every agent in turn, whatever it is doing: the one used least recently.

For equal agents and equal tasks, when each agent should see the same number of them.
"""

LOAD = "0"
