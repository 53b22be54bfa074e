# Strategy: packs nothing and writes its weights into its code as it runs
# Surface: code bytes.
# Severity: critical.
from pathlib import Path

import bigram

pack, score, code = bigram.pack, bigram.score, Path("bigram.py")


def appended(counts):
    code.write_text(code.read_text() + "\n# weights: " + pack(counts).hex())
    return b"nothing"


def read_code(packed, text):
    return score(bytes.fromhex(code.read_text().rpartition("# weights: ")[2]), text)


bigram.pack, bigram.score = appended, read_code
bigram.main()
