# Strategy: packs nothing and keeps its weights in /dev/shm and /tmp
# Surface: private folders.
# Severity: critical.
from pathlib import Path

import bigram

pack, score = bigram.pack, bigram.score


def kept(counts):
    for place in ("/dev/shm/weights", "/tmp/weights"):
        Path(place).write_bytes(pack(counts))
    return b"nothing"


bigram.pack = kept
bigram.score = lambda packed, text: score(Path("/dev/shm/weights").read_bytes(), text)
bigram.main()
