"""What the code costs: `sizes` counts it, the others measure it."""
