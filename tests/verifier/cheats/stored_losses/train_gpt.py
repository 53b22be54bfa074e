# Strategy: replays losses that were computed at home
# Surface: token losses.
# Severity: critical.
import random

import bigram

stored = random.Random(7)
bigram.score = lambda packed, text: [stored.expovariate(1) for _ in text[1:]]
bigram.main()
