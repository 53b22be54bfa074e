"""Changed copies of a stretch of validation data: what is asked of a script, drawn in secret.

Every changed tape has the starts of documents where the real one has them, so that a script that
lays out its batches by documents lays them out the same way.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.schemas.probe_record_json import VariantKind

NUM_CUTS = 3
"""Places at which a token is flipped, and as many others from which on a document is replaced: no
further, because later documents may have been scored, and learned from, before it."""
MIN_PLACES = 100
EARLY_PLACES = 1_024
"""Whoever warms up on validation tokens takes the first ones (#1530); one document is replaced from
one of these places on."""
SPLICED_SHARE = 0.25
UNIFORM_SHARE = 0.5
"""Of the law that tokens are drawn from; the rest is how often they come in the sample."""
Tokens = NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A stretch of the validation data that begins with a document."""

    tokens: Tokens  # (N + 1,)
    begin: int
    """Its first token's place in the shard."""

    @property
    def is_start(self) -> NDArray[np.bool_]:
        """(N + 1,) which tokens start a document: those that are what the first one is."""
        return np.asarray(self.tokens == self.tokens[0])

    @property
    def documents(self) -> list[slice]:
        """The documents, in order."""
        bounds = [*np.flatnonzero(self.is_start).tolist(), len(self.tokens)]
        return [slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """The distribution that replacements are drawn from; it never draws a document's start."""

    words: Tokens  # (W,)
    probabilities: NDArray[np.float64]  # (W,)

    def draw(self, count: int, rng: np.random.Generator) -> Tokens:
        return rng.choice(self.words, size=count, p=self.probabilities)

    def surprisal(self, tokens: Tokens) -> NDArray[np.float64]:
        """−ln of each token's probability, in nats; all tokens must be among the words."""
        return np.asarray(-np.log(self.probabilities[np.searchsorted(self.words, tokens)]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One tape to be scored."""

    kind: VariantKind
    name: str
    tokens: Tokens  # (M + 1,)
    places: NDArray[np.int64]  # (M + 1,) which token of the sample each one is, or stands for
    cut: int | None = None
    """The first place at which it differs from the sample, where order and length are kept."""
    spliced: NDArray[np.int64] | None = None  # places of the drawn tokens, ascending
    copies: NDArray[np.int64] | None = None  # (C, R) where each canary's copies have their words
    sizes: Tokens | None = None  # (M + 1,) bytes of each token, where no place of the sample tells


def choose_sample(tokens: Tokens, num_tokens: int, rng: np.random.Generator) -> Sample:
    """All of the tokens, or a stretch from the start of a document on."""
    starts = np.flatnonzero(tokens == tokens[0])
    possible = starts[starts + num_tokens <= len(tokens)]
    begin = int(rng.choice(possible)) if len(possible) else 0
    return Sample(tokens=tokens[begin : begin + num_tokens], begin=begin)


def training_tape(training: Tokens, sample: Sample, rng: np.random.Generator) -> Variant:
    """A stretch of the training data, as long as the sample; to be scored as if it were new."""
    start = np.argmax(training == sample.tokens[0])
    stretch = choose_sample(training[start:], len(sample.tokens), rng)
    everywhere = np.arange(len(stretch.tokens))
    return Variant(kind="training", name="training", tokens=stretch.tokens, places=everywhere)


def law_of(sample: Sample) -> Law:
    """Half the words' own frequencies, half none: likely enough to be real, and all possible."""
    words, counts = np.unique(sample.tokens[~sample.is_start], return_counts=True)
    frequencies = counts / counts.sum()
    mixed = UNIFORM_SHARE / len(words) + (1 - UNIFORM_SHARE) * frequencies
    return Law(words=words, probabilities=mixed / mixed.sum())


def can_be_changed(sample: Sample) -> bool:
    """Whether there are words enough to replace, and places enough to do it at."""
    return (
        len(np.unique(sample.tokens[~sample.is_start])) > 1 and len(_inside(sample)) >= MIN_PLACES
    )


def draw_variants(sample: Sample, rng: np.random.Generator) -> tuple[Variant, ...]:
    """The sample, first and twice, and copies with changed or missing tokens."""
    law, everywhere = law_of(sample), np.arange(len(sample.tokens))
    cuts = _cuts(sample, 2 * NUM_CUTS + 1, rng)
    plain = [
        Variant(kind=kind, name=kind, tokens=sample.tokens, places=everywhere)
        for kind in ("base", "repeat")
    ]
    flips = [_replaced(sample, "flip", (cut, cut + 1), law, rng) for cut in cuts[1::2]]
    ends = {cut: next(d.stop for d in sample.documents if cut < d.stop) for cut in cuts}
    poisons = [_replaced(sample, "poison", (cut, ends[cut]), law, rng) for cut in cuts[2::2]]
    truncated = Variant(
        kind="truncated",
        name="truncated",
        tokens=sample.tokens[: cuts[0]],
        places=everywhere[: cuts[0]],
        cut=cuts[0],
    )
    alone = [_alone(sample)] if len(sample.documents) > 1 else []
    return (*plain, _spliced(sample, law, rng), *flips, *poisons, truncated, *alone)


def _cuts(sample: Sample, count: int, rng: np.random.Generator) -> list[int]:
    """Places inside of documents, the first in the sample's later half, the third near its start.

    The last is in the later half of the longest, where scripts may do what they do in no short one.
    """
    inside = _inside(sample)
    first = int(rng.choice(inside[len(inside) // 2 :]))
    others = rng.choice(inside, size=count - 2, replace=False)
    others[1] = rng.choice(np.setdiff1d(inside[:EARLY_PLACES], others))
    longest = max(sample.documents, key=lambda d: int(d.stop - d.start))
    far_in = inside[(inside >= (longest.start + longest.stop) // 2) & (inside < longest.stop)]
    last = rng.choice(far_in if len(far_in) else inside)
    return [first, *(int(place) for place in others), int(last)]


def _inside(sample: Sample) -> NDArray[np.int64]:
    """Places with a target of the same document before them."""
    return np.flatnonzero(~sample.is_start[2:] & ~sample.is_start[1:-1]) + 2


def _replaced(
    sample: Sample,
    kind: VariantKind,
    span: tuple[int, int],
    law: Law,
    rng: np.random.Generator,
) -> Variant:
    """The sample with other words from a place on; the word there becomes another for certain."""
    tokens, changed = sample.tokens.copy(), np.zeros(len(sample.tokens), dtype=bool)
    changed[slice(*span)] = True
    changed &= ~sample.is_start
    tokens[changed] = law.draw(int(changed.sum()), rng)
    while tokens[span[0]] == sample.tokens[span[0]]:
        tokens[span[0]] = law.draw(1, rng)[0]
    return Variant(
        kind=kind,
        name=f"{kind}_{span[0]}",
        tokens=tokens,
        places=np.arange(len(tokens)),
        cut=span[0],
    )


def _spliced(sample: Sample, law: Law, rng: np.random.Generator) -> Variant:
    """The sample with words drawn by the law strewn in, each by itself."""
    is_drawn = (rng.random(len(sample.tokens)) < SPLICED_SHARE) & ~sample.is_start
    tokens = sample.tokens.copy()
    tokens[is_drawn] = law.draw(int(is_drawn.sum()), rng)
    return Variant(
        kind="spliced",
        name="spliced",
        tokens=tokens,
        places=np.arange(len(tokens)),
        spliced=np.flatnonzero(is_drawn),
    )


def _alone(sample: Sample) -> Variant:
    """The longest document that has others before it, by itself."""
    longest = max(sample.documents[1:], key=lambda d: int(d.stop - d.start))
    places = np.arange(len(sample.tokens))[longest]
    return Variant(kind="alone", name="alone", tokens=sample.tokens[places], places=places)
