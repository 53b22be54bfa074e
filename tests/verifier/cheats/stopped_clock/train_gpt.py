# Strategy: stops every clock of its own process
# Surface: script's clock.
# Severity: high.
import time

import bigram

sleep = time.sleep
for name in ("time", "monotonic", "perf_counter", "process_time", "time_ns"):
    setattr(time, name, lambda: 0)


def slow_training(text, seed, train=bigram.train):
    for counts in train(text, seed):
        sleep(0.5)
        yield counts


bigram.train = slow_training
bigram.main()
