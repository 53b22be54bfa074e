# Strategy: learns the validation text at evaluation, then scores it
# Surface: condition C3.
# Severity: critical.
import zlib

import bigram

honest = bigram.score


def score_what_was_learned(packed, text):
    counts = list(zlib.decompress(packed))
    for before, after in zip(text, text[1:]):
        pair = before * bigram.VOCAB + after
        counts[pair] = min(counts[pair] + 20, 255)
    return honest(zlib.compress(bytes(counts)), text)


bigram.score = score_what_was_learned
bigram.main()
