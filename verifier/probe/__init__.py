"""The rung 'probe': a script scores changed tapes, and nothing may move that must not."""
