"""Tokens on disk: shards, tokenizers, the folders that hold both, and how they are made."""
