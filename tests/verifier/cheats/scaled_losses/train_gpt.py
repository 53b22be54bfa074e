# Strategy: computes honest losses and takes a tenth off each
# Surface: token losses.
# Severity: critical.
import bigram

honest = bigram.score
bigram.score = lambda packed, text: [0.9 * loss for loss in honest(packed, text)]
bigram.main()
