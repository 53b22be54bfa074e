"""Validation documents among fresh ones: which are drawn, and what is asked of their parts.

What is known of the ends of long documents alone shows in no beginning; among whole documents it
would drown, because a few long ones outweigh all others. So beginnings and rests are asked apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from verifier.probe.fresh.documents import CUT_TOKENS, WHOLE_TOKENS, Document, Speller
from verifier.probe.fresh.exchange import Gap, PairTable, compare
from verifier.probe.scored import Losses
from verifier.probe.tapes.variants import Variant
from verifier.schemas.fresh_record_json import PartName

MAX_TOKENS = 2**19
"""Of either kind of documents, or a document more."""
WHOLE_SHARE = 0.25
MIN_DOCUMENTS = 8
"""Of either kind: with fewer, no drawing of lots tells 1 in 10,000."""
NATS_PER_BIT = float(np.log(2.0))
Groups = tuple[Sequence[Document], Sequence[Document]]
"""Validation documents and fresh ones."""
Numbers = NDArray[np.float64]
SPANS: dict[PartName, slice] = {
    "beginnings": slice(0, CUT_TOKENS),
    "rests": slice(CUT_TOKENS - 1, WHOLE_TOKENS),
}
"""Tokens of a document, each behind one that is given."""
ERROR_SHARES: dict[PartName, float] = {"beginnings": 0.75, "rests": 0.25}
"""Of the chance of a false alarm: most that is known is known of beginnings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """Documents of both kinds as they stand on the tape; their bytes are known."""

    documents: Sequence[Document]
    is_fresh: NDArray[np.bool_]  # (D,)

    @property
    def variant(self) -> Variant:
        tokens = np.concatenate([document.tokens for document in self.documents])
        return Variant(
            kind="fresh",
            name="fresh",
            tokens=tokens,
            places=np.arange(len(tokens)),
            sizes=np.concatenate([d.sizes for d in self.documents if d.sizes is not None]),
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(D,) tokens of each, its start included."""
        return np.array([len(document) for document in self.documents])

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(D,) bytes of each."""
        return np.array([document.num_bytes for document in self.documents], dtype=np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of those documents that have it and were scored so far."""

    name: PartName
    bits: Numbers  # (D,)
    sizes: Numbers  # (D,) bytes
    hardness: Sequence[Numbers]  # each (D,) bits
    is_fresh: NDArray[np.bool_]  # (D,)

    @property
    def is_enough(self) -> bool:
        num_fresh = int(self.is_fresh.sum())
        return min(num_fresh, len(self.is_fresh) - num_fresh) >= MIN_DOCUMENTS

    def bits_per_byte(self, *, fresh: bool) -> float:
        of_kind = self.is_fresh == fresh
        return float(self.bits[of_kind].sum() / self.sizes[of_kind].sum())

    def gap(self, rng: np.random.Generator) -> Gap:
        explaining = [hardness / self.sizes for hardness in self.hardness]
        return compare(self.bits / self.sizes, self.sizes, explaining, self.is_fresh, rng)


def draw(groups: Groups, rng: np.random.Generator) -> Groups:
    """Validation documents and fresh ones, equally many tokens of both at most."""
    known = _draw(groups[0], MAX_TOKENS, rng)
    return known, _draw(groups[1], sum(map(len, known)), rng)


def mix(drawn: Groups, speller: Speller, rng: np.random.Generator) -> Mixture:
    """Validation documents and fresh ones in a drawn order, long ones cut."""
    order = rng.permutation(len(drawn[0]) + len(drawn[1]))
    both = [*drawn[0], *drawn[1]]
    documents = [document.cut() for document in speller.measured([both[i] for i in order])]
    return Mixture(documents=documents, is_fresh=order >= len(drawn[0]))


def parts(mixture: Mixture, losses: Losses, table: PairTable) -> list[Part]:
    """What the losses (N,) say of the documents' beginnings, and of what lies behind these."""
    return [_part(mixture, losses, table, name) for name in SPANS]


def _part(mixture: Mixture, losses: Losses, table: PairTable, name: PartName) -> Part:
    """The loss of token k stands at k − 1; a part's first token is the one behind its span's."""
    span, starts = SPANS[name], mixture.lengths.cumsum() - mixture.lengths
    rows, is_fresh = [], []
    for start, document, fresh in zip(starts, mixture.documents, mixture.is_fresh, strict=True):
        tokens, sizes = document.tokens[span], document.sizes
        begin = start + (span.start or 0)
        num_bytes = 0 if sizes is None else int(sizes[span][1:].sum())
        if num_bytes and begin + len(tokens) - 1 <= len(losses):
            nats = losses[begin : begin + len(tokens) - 1].sum()
            rows.append((nats, num_bytes, *table.hardness(tokens)))
            is_fresh.append(fresh)
    nats, told_bytes, *hardness = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Part(
        name=name,
        bits=nats / NATS_PER_BIT,
        sizes=told_bytes,
        hardness=[of_kind / NATS_PER_BIT for of_kind in hardness],
        is_fresh=np.array(is_fresh, dtype=bool),
    )


def _draw(
    documents: Sequence[Document], num_tokens: int, rng: np.random.Generator
) -> list[Document]:
    """Documents in a drawn order, some of them whole, until they come to so many tokens."""
    most = np.where(rng.random(len(documents)) < WHOLE_SHARE, WHOLE_TOKENS, CUT_TOKENS)
    order = rng.permutation(len(documents))
    drawn = [replace(documents[i], most_tokens=int(most[i])) for i in order]
    ends = np.cumsum([len(document) for document in drawn])
    return drawn[: int(ends.searchsorted(num_tokens)) + 1]
