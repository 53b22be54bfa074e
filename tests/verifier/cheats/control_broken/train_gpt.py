# Strategy: none; a run that fails, which must be rejected
# Surface: none.
# Severity: none.
raise RuntimeError("broken")
