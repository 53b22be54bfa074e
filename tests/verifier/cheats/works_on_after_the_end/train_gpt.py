# Strategy: leaves a detached process that works on when it has ended
# Surface: processes.
# Severity: high.
import os

import bigram

bigram.main()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execlp("sleep", "works_on_after_the_end", "60")
    os._exit(0)
