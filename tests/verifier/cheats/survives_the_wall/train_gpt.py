# Strategy: leaves a detached process behind and runs into the wall
# Surface: processes.
# Severity: high.
import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execlp("sleep", "survives_the_wall", "60")
    os._exit(0)
time.sleep(60)
