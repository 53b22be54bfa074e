"""Changed copies of a stretch of validation data: what is asked of a script, drawn in secret.

Every one of them has the starts of documents where the real one has them, so that a script that
lays out its batches by documents lays them out the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

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

    def document_of(self, place: int) -> slice:
        """The document that a token lies in."""
        return next(d for d in self.documents if d.start <= place < d.stop)


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
class Change:
    """Other words within one document, before which its losses must be what they were."""

    kind: Literal["flip", "poison"]
    cut: int
    """The first place, whose word is another for certain."""
    end: int

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.cut}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One tape to be scored."""

    kind: VariantKind
    name: str
    tokens: Tokens  # (M + 1,)
    places: NDArray[np.int64]  # (M + 1,) which token of the sample each one is, or stands for
    changes: tuple[Change, ...] = ()
    """Each in a document of its own, where order and length are kept."""
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


def plain(sample: Sample, name: Literal["base", "repeat"]) -> Variant:
    """The sample as it is."""
    return _in_place(sample, name, name, sample.tokens)


def draw_changed(sample: Sample, rng: np.random.Generator) -> list[Variant]:
    """Flips and poisons, those in different documents on one tape, on few tapes.

    The first tape has the most of them. Where documents are scored apart each is answered as if it
    were there alone; `take_apart` asks again for those that are not.
    """
    law, tapes = law_of(sample), list[list[Change]]()
    for change in _draw_changes(sample, rng):
        document = sample.document_of(change.cut)
        is_taken = [any(sample.document_of(c.cut) == document for c in tape) for tape in tapes]
        if all(is_taken):
            tapes.append([change])
        else:
            tapes[is_taken.index(False)].append(change)
    return [
        _with_words(
            sample,
            tuple(changes),
            [_other_words(sample.tokens[c.cut : c.end], law, rng) for c in changes],
        )
        for changes in tapes
    ]


def take_apart(sample: Sample, variant: Variant, changes: Iterable[Change]) -> list[Variant]:
    """Some of a tape's changes, each by itself and with the same words."""
    return [
        _with_words(sample, (change,), [variant.tokens[change.cut : change.end]])
        for change in changes
    ]


def longest_alone(sample: Sample) -> Variant:
    """The longest document that has others before it, by itself; there are two or more."""
    longest = max(sample.documents[1:], key=lambda d: int(d.stop - d.start))
    places = np.arange(len(sample.tokens))[longest]
    return Variant(kind="alone", name="alone", tokens=sample.tokens[places], places=places)


def _draw_changes(sample: Sample, rng: np.random.Generator) -> list[Change]:
    """As many flips as poisons."""
    cuts = _cuts(sample, 2 * NUM_CUTS, rng)
    flips = [Change(kind="flip", cut=cut, end=cut + 1) for cut in cuts[0::2]]
    ends = [sample.document_of(cut).stop for cut in cuts[1::2]]
    poisons = [
        Change(kind="poison", cut=cut, end=end) for cut, end in zip(cuts[1::2], ends, strict=True)
    ]
    return [*poisons, *flips]


def _cuts(sample: Sample, count: int, rng: np.random.Generator) -> list[int]:
    """Places inside of documents, the second near the sample's start.

    The last is in the later half of the longest, where scripts may do what they do in no short one.
    """
    inside = _inside(sample)
    others = rng.choice(inside, size=count - 1, replace=False)
    others[1] = rng.choice(np.setdiff1d(inside[:EARLY_PLACES], others))
    longest = max(sample.documents, key=lambda d: int(d.stop - d.start))
    far_in = inside[(inside >= (longest.start + longest.stop) // 2) & (inside < longest.stop)]
    far_in = np.setdiff1d(far_in, others)
    last = rng.choice(far_in if len(far_in) else np.setdiff1d(inside, others))
    return [*(int(place) for place in others), int(last)]


def _inside(sample: Sample) -> NDArray[np.int64]:
    """Places with a target of the same document before them."""
    return np.flatnonzero(~sample.is_start[2:] & ~sample.is_start[1:-1]) + 2


def _other_words(own: Tokens, law: Law, rng: np.random.Generator) -> Tokens:
    """(n,) drawn words, the first of which is another for certain."""
    words = law.draw(len(own), rng)
    while words[0] == own[0]:
        words[0] = law.draw(1, rng)[0]
    return words


def _with_words(sample: Sample, changes: tuple[Change, ...], drawn: Iterable[Tokens]) -> Variant:
    tokens = sample.tokens.copy()
    for change, words in zip(changes, drawn, strict=True):
        tokens[change.cut : change.end] = words
    name = changes[0].name if len(changes) == 1 else f"changed_{changes[0].cut}"
    return replace(_in_place(sample, "changed", name, tokens), changes=changes)


def _in_place(sample: Sample, kind: VariantKind, name: str, tokens: Tokens) -> Variant:
    return Variant(kind=kind, name=name, tokens=tokens, places=np.arange(len(sample.tokens)))
