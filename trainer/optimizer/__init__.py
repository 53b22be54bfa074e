"""Muon for matrices, Adam for the rest, and their schedules."""
