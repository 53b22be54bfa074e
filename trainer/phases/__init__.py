"""A run of the training script, a module a phase: prepare, train, pack, evaluate."""
