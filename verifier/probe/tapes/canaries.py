"""Made-up documents among real ones, each in several copies: who knows one before the first?

Nobody can give the words of a document that was drawn by lot more than they are likely, but who has
seen it. Copies come again and again, so that whoever learns the text before he scores it learns
them well; which copy a script scores first is its own affair, so the worst known one counts.
"""

import numpy as np
from numpy.typing import NDArray

from verifier.floor.odds import MAX_LOG_ODDS, STAKES
from verifier.probe.tapes.variants import Law, Sample, Variant

NUM_CANARIES = 16
NUM_COPIES = 8
CANARY_TOKENS = 32
NATS_PER_BIT = float(np.log(2.0))


def plant(sample: Sample, law: Law, rng: np.random.Generator) -> Variant:
    """The sample with copies of drawn documents between its own, in drawn places."""
    words = law.draw(NUM_CANARIES * CANARY_TOKENS, rng).reshape(NUM_CANARIES, CANARY_TOKENS)
    copies = rng.permutation(np.repeat(np.arange(NUM_CANARIES), NUM_COPIES))
    documents = sample.documents
    before = np.sort(rng.integers(len(documents) + 1, size=len(copies)))
    pieces, begins, at = [], np.empty(len(copies), dtype=np.int64), 0
    for index in range(len(documents) + 1):
        for copy in np.flatnonzero(before == index):
            begins[copy] = at + 1
            pieces.append(np.append(sample.tokens[:1], words[copies[copy]]))
            at += 1 + CANARY_TOKENS
        if index < len(documents):
            pieces.append(sample.tokens[documents[index]])
            at += len(pieces[-1])
    tokens = np.concatenate(pieces)
    return Variant(
        kind="canaries",
        name="canaries",
        tokens=tokens,
        places=np.zeros(len(tokens), dtype=np.int64),
        copies=begins[np.argsort(copies, kind="stable")].reshape(NUM_CANARIES, NUM_COPIES),
    )


def assess_canaries(
    variant: Variant, law: Law, losses: NDArray[np.float64], tolerance_nats: float
) -> dict[str, float | int]:
    """What was won on the canaries, and by how many bits the middle one was known.

    For one share λ of one's wealth, the wealth after the copy that is scored first is an e-value
    given all before it, and the least over the copies is no more. So the product over canaries,
    and its mean over λ, reach k with probability 1/k at most, in whatever order they are scored.
    """
    assert variant.copies is not None
    spans = variant.copies[:, :, None] + np.arange(CANARY_TOKENS)
    is_scored = spans[:, :, -1] <= len(losses)  # (C, R); the loss of token k stands at k − 1
    ratios = law.surprisal(variant.tokens[spans]) - tolerance_nats  # (C, R, T)
    ratios -= losses[np.minimum(spans, len(losses)) - 1]
    known = np.flatnonzero(is_scored.any(axis=1))
    if not len(known):
        return {}
    wealth = []
    for stake in STAKES:
        kept = np.log1p(-stake) if stake < 1 else -np.inf
        won = np.logaddexp(kept, np.log(stake) + ratios).sum(axis=2)
        wealth.append(np.where(is_scored, won, np.inf)[known].min(axis=1).sum())
    odds = float(np.logaddexp.reduce(wealth) - np.log(len(STAKES)))
    bits = np.where(is_scored, ratios.sum(axis=2), np.inf)[known].min(axis=1) / NATS_PER_BIT
    return {
        "num_canaries": len(known),
        "canary_odds_nats": float(np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)),
        "canary_bits": float(np.median(bits)),
    }
