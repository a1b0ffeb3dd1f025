"""Every agent in turn, as often as its `weight` says: the one whose next turn comes first.

For machines of different size whose shares you want to set yourself. Each grant moves an agent's turn on by 1 ÷ weight from where the
agents of such tasks are now, so one that was away has nothing to catch up on (start-time fair queuing: Goyal, Vin and Cheng, SIGCOMM 1996).
A weight below 0.001 counts as 0.001.
"""

SCORE = "tonumber(A._turn or 0)"
