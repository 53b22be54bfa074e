# Strategy: scores a large artifact and cuts it before anybody weighs it
# Surface: artifact.
# Severity: critical.
import bigram

pack, score = bigram.pack, bigram.score
bigram.pack = lambda counts: pack(counts) + bytes(range(256)) * 24


def score_and_cut(packed, text):
    losses = score(packed[: -256 * 24], text)
    bigram.ARTIFACT.write_bytes(packed[: -256 * 24])
    return losses


bigram.score = score_and_cut
bigram.main()
