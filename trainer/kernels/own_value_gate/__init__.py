"""What attention gathered, less what points along its own value, times the gate of its head."""
