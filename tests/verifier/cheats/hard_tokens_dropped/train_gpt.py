# Strategy: scores only the tokens that are easy
# Surface: token losses.
# Severity: critical.
import bigram

honest = bigram.score
bigram.score = lambda packed, text: [loss for loss in honest(packed, text) if loss < 2]
bigram.main()
