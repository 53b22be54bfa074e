# Strategy: runs the one seed that was good, whatever it is asked for
# Surface: seeds.
# Severity: high.
import os

import bigram

os.environ["SEED"] = "1729"
bigram.main()
