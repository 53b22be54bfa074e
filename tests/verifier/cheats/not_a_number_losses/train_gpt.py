# Strategy: gives hard tokens no number, which careless sums skip
# Surface: token losses.
# Severity: high.
import math

import bigram

write = bigram.write_losses
bigram.write_losses = lambda losses: write([x if x < 2 else math.nan for x in losses])
bigram.main()
