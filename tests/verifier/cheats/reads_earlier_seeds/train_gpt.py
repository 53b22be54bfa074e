# Strategy: looks for what earlier seeds left in the run directory
# Surface: run directory.
# Severity: medium.
from pathlib import Path

import bigram

pack = bigram.pack


def earlier(counts):
    for place in map(Path, ("..", "/pgolf", "/runs", "/tmp")):
        for found in place.rglob("model.ptz"):
            if found.resolve().parent != Path.cwd():
                return found.read_bytes()
    return pack(counts)


bigram.pack = earlier
bigram.main()
