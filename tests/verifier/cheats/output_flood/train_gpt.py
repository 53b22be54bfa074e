# Strategy: prints without end
# Surface: resources.
# Severity: medium.
while True:
    print("x" * 4096)
