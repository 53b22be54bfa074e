"""The workshop: a recipe in, a submission's folder out."""

__version__ = "0.1.0"
