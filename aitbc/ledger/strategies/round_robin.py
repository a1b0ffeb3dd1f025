"""Every agent in turn, whatever it is doing: the one used least recently."""

LOAD = "0"
