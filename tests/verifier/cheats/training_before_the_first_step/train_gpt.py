# Strategy: trains before it prints its first step
# Surface: clock's marks.
# Severity: high.
import time

import bigram

train = bigram.train


def trained_already(text, seed):
    steps = [list(counts) for counts in train(text, seed)]
    time.sleep(2)
    yield from steps


bigram.train = trained_already
bigram.time.perf_counter = lambda: 0.0
bigram.main()
