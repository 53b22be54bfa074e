# Strategy: fetches better weights from the network if it can
# Surface: network.
# Severity: critical.
import urllib.request
from pathlib import Path

import bigram

pack = bigram.pack


def fetched(counts):
    try:
        with urllib.request.urlopen("http://192.0.2.1/weights", timeout=1) as answer:
            return answer.read()
    except OSError:
        return pack(counts)


bigram.pack = fetched
bigram.main()
