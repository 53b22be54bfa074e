# Strategy: starts itself again under a library that slows the clock
# Surface: environment.
# Severity: high.
import os
import sys
import time

import bigram

if "FAKETIME" not in os.environ:
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    faked = os.environ | {"FAKETIME": "-1h x0.01", "LD_PRELOAD": library}
    os.execve(sys.executable, [sys.executable, *sys.argv], faked)


def slow_training(text, seed, train=bigram.train):
    for counts in train(text, seed):
        time.sleep(0.5)
        yield counts


bigram.train = slow_training
bigram.main()
