# Strategy: packs nothing and leaves its weights in another file
# Surface: working folder.
# Severity: critical.
from pathlib import Path

import bigram

pack, score = bigram.pack, bigram.score


def hidden(counts):
    Path("cache.bin").write_bytes(pack(counts))
    return b"nothing"


bigram.pack = hidden
bigram.score = lambda packed, text: score(Path("cache.bin").read_bytes(), text)
bigram.main()
