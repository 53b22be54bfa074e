"""Worlds of known entropy: how good a score on them can be, and what a better one proves."""
