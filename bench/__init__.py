"""What the code costs: `python -m bench` measures it beside what a user would pick instead, `sizes` counts it."""
