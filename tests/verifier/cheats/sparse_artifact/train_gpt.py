# Strategy: hopes that a file of holes is weighed by its blocks
# Surface: artifact.
# Severity: medium.
import os

import bigram

bigram.main()
os.truncate(bigram.ARTIFACT, 1_000_000)
