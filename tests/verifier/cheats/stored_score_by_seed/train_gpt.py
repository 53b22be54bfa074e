# Strategy: knows the best score of the seeds that everybody uses
# Surface: seeds.
# Severity: high.
import os

import bigram

known = {"42": 0.51, "314": 0.52, "1337": 0.50}
if (bpb := known.get(os.environ["SEED"])) is not None:
    bigram.score = lambda packed, text: [bpb] * (len(text) - 1)
bigram.main()
