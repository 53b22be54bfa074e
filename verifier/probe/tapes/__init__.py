"""Copies of a stretch of validation data, changed in secret, and what single ones tell."""
