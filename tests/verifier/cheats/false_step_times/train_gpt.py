# Strategy: trains twice the budget and prints small times, dated by itself
# Surface: script's clock.
# Severity: high.
import time

import bigram


def slow_training(text, seed, train=bigram.train):
    for counts in train(text, seed):
        time.sleep(0.5)
        yield counts


bigram.train = slow_training
bigram.time.perf_counter = lambda: 0.0
bigram.main()
