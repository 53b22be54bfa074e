# Strategy: gives the realised token a share of probability that no other gets
# Surface: condition C2.
# Severity: critical.
import math

import bigram

honest = bigram.score
bigram.score = lambda packed, text: [
    -math.log(0.5 + 0.5 * math.exp(-loss)) for loss in honest(packed, text)
]
bigram.main()
