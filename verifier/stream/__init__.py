"""The rung 'stream': we score, because a token is shown only after its distribution is held."""
