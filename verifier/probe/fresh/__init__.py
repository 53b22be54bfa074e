"""Validation documents beside ones that nobody was shown."""
