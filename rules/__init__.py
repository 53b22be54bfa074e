"""What the referee knows: data, no code."""
