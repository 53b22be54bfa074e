"""A cache of n-grams in hashed tables on a floor's tape: what its score is, by the tables' size.

python benchmarks/hashed_tables.py

The predictor knows the source, and lies 0.005 nats a token above its entropy. Its cache counts the
contexts of one to six tokens, and each with its target, in tables of so many buckets; where the
longest context that came twice is found, its share is mixed in. Nobody divides by what all words
together would get: that is the mistake, and it shows as far as buckets are shared.
"""

import numpy as np
from numpy.typing import NDArray

from verifier.floor.source import Tape
from verifier.floor.world import WorldSize, draw_world

SIZE = WorldSize(
    source="zipf",
    vocab_size=1024,
    document_tokens=1000,
    training_tokens=100_000,
    num_targets=122_880,
)
REGRET_NATS = 0.005
WEIGHT = 0.5
CONTEXTS = range(1, 7)
STRIDE = 64
"""Targets that are scored, then counted."""
MULTIPLIERS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD3A2646C])
REAL_TARGETS = 62_021_632
BUCKETS = (4_194_304, 524_288, 65_536, 16_384, 8_192)
Numbers = NDArray[np.int64]


def keys(tokens: Numbers, length: int, num_buckets: int) -> tuple[Numbers, Numbers]:
    """Buckets of each target's context, and of the context with the target: (N,) both."""
    places = np.arange(1, len(tokens))
    hashed = np.zeros(len(places), dtype=np.int64)
    for back in range(1, length + 1):
        hashed ^= (tokens[np.maximum(places - back, 0)] + 1) * MULTIPLIERS[back - 1]
    told = hashed ^ (tokens[places] + 1) * 0x2545F491
    return (hashed >> 7) % num_buckets, (told >> 7) % num_buckets


def cached(tape: Tape, num_buckets: int) -> float:
    """Mean loss of the mixture, nats a token."""
    tokens = tape.tokens.astype(np.int64)
    places = [keys(tokens, length, num_buckets) for length in CONTEXTS]
    tables = np.zeros((2, len(places), num_buckets))
    own = np.exp(-(tape.surprisal + REGRET_NATS))
    for begin in range(0, len(own), STRIDE):
        part = slice(begin, begin + STRIDE)
        found = np.zeros(len(own[part]), dtype=bool)
        shares = own[part].copy()
        for i in reversed(range(len(places))):
            contexts, told = (tables[k, i, places[i][k][part]] for k in range(2))
            use = ~found & (contexts >= 2)
            shares[use] = np.minimum(told[use] / contexts[use], 1.0)
            found |= use
        own[part] += WEIGHT * (shares - own[part])
        for i in range(len(places)):
            for k in range(2):
                np.add.at(tables[k, i], places[i][k][part], 1)
    return float(-np.log(np.maximum(own, 1e-12)).mean())


def main() -> None:
    tape = draw_world(SIZE, "5eed").tape
    print("| buckets | tokens a bucket | nats over the entropy | total | as on the real data |")
    print("| --- | --- | --- | --- | --- |")
    for num_buckets in BUCKETS:
        over = cached(tape, num_buckets) - tape.floor_nats / tape.num_targets
        real = num_buckets * REAL_TARGETS / tape.num_targets
        print(
            f"| {num_buckets:,} | {tape.num_targets / num_buckets:.2g} | {over:+.3f} | "
            f"e^{-over * tape.num_targets:,.0f} | {real:,.0f} buckets |",
            flush=True,
        )


if __name__ == "__main__":
    main()
