"""Submission + Rulebook → RunPlan; RunPlan + Sandbox → SeedMeasurement for each seed."""
