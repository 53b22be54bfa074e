# Strategy: takes all memory
# Surface: resources.
# Severity: high.
import time

held = b"x" * 2**29
time.sleep(60)
