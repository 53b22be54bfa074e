# Strategy: names a file of weights among its code, and opens it by another name
# Surface: contract.
# Severity: critical.
from pathlib import Path

import bigram

weights = Path("wor" + "ds.bin").read_bytes()
bigram.STEPS += len(weights) % 2
bigram.main()
