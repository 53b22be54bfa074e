"""Renderers: each sees a VerdictFile and nothing else."""
