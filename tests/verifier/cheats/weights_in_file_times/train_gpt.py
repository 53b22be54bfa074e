# Strategy: packs nothing and writes its weights as dates of empty files
# Surface: working folder.
# Severity: critical.
import os
import zlib
from pathlib import Path

import bigram

score, num_pairs = bigram.score, bigram.VOCAB * bigram.VOCAB


def dated(counts):
    Path("dates").mkdir()
    for pair, count in enumerate(counts):
        Path(f"dates/{pair}").touch()
        os.utime(f"dates/{pair}", (0, min(count, 255)))
    return b"nothing"


def read_dates(packed, text):
    counts = bytes(int(Path(f"dates/{pair}").stat().st_mtime) for pair in range(num_pairs))
    return score(zlib.compress(counts), text)


bigram.pack, bigram.score = dated, read_dates
bigram.main()
