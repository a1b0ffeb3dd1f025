"""What the coordinator tells of itself: `logs.py` its log lines, `once.py` one line an outage, `steps.py` where tests stop it."""
