"""Queries and keys: normed, turned by their position, made as sharp as their head wants them."""
