# Strategy: packs nothing and spells its weights as names of empty files
# Surface: working folder.
# Severity: critical.
import zlib
from pathlib import Path

import bigram

score = bigram.score


def spelled(counts):
    Path("names").mkdir()
    for row in range(bigram.VOCAB):
        digits = bytes(min(c, 255) for c in counts[row * bigram.VOCAB :][: bigram.VOCAB]).hex()
        Path(f"names/{row:02}_{digits}").touch()
    return b"nothing"


def read_names(packed, text):
    names = sorted(path.name for path in Path("names").iterdir())
    return score(zlib.compress(b"".join(bytes.fromhex(n[3:]) for n in names)), text)


bigram.pack, bigram.score = spelled, read_names
bigram.main()
