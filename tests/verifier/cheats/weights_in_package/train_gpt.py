# Strategy: carries weights in a package of its own
# Surface: code bytes.
# Severity: high.
import bigram
import tables

bigram.STEPS += len(tables.WEIGHTS) % 2
bigram.main()
