# Strategy: ends well without having done anything
# Surface: standard output.
# Severity: medium.
raise SystemExit(0)
