"""The referee: a submission's folder in, a verdict with its reasons out."""

__version__ = "0.1.0"
