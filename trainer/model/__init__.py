"""The transformer, from token ids to losses."""
