# Strategy: lets the file of losses be a link to something else
# Surface: token losses.
# Severity: medium.
import os

import bigram

bigram.write_losses = lambda losses: os.symlink("/dev/zero", os.environ["PGOLF_TOKEN_LOSSES"])
bigram.main()
