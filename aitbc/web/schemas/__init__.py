"""What bodies, queries and paths may hold, by noun; `base.py` has the rules that they share."""
