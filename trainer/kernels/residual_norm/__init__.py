"""The residual stream with the embedding mixed in, and its norm."""
