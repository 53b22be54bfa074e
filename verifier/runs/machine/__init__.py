"""What the harness knows of its machine: what it is, what it did, what was opened on it."""
