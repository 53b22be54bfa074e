"""How the tape is cut into pieces that are predicted side by side, and which are drawn.

The first token of a piece is given, and is the last target of the piece before. Where it says
something, the two are never shown to the same process: pieces fall into groups, and each group
meets a process of its own, from a cold start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.schemas.run_record_json import StreamPlan
from verifier.stream.protocol import Tokens

DOCUMENT_START = 1
"""BOS in every published tokenizer and shard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of targets, and where the tokens begin that are given for it."""

    given_from: int
    begin: int
    """Place of the last given token; targets are those behind it, up to `end` and with it."""
    end: int

    @property
    def num_targets(self) -> int:
        return self.end - self.begin

    def given(self, tape: Tokens) -> Tokens:
        return tape[self.given_from : self.begin + 1]

    def targets(self, tape: Tokens) -> Tokens:
        return tape[self.begin + 1 : self.end + 1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """How much is streamed."""

    num_targets: int
    """In pieces that hold at least so many together, or in all."""
    piece_targets: int
    """At most, of a piece; what comes after is left out."""


def cut(tape: Tokens, plan: StreamPlan) -> list[Piece]:
    """All pieces of a tape, in order; together they hold every target once."""
    last = len(tape) - 1
    if plan.piece_tokens is None:
        begins = np.union1d([0], np.flatnonzero(tape[:-1] == DOCUMENT_START))
    else:
        begins = np.arange(0, last, plan.piece_tokens)
    ends = [*begins[1:].tolist(), last]
    return [
        Piece(given_from=max(begin - plan.context_tokens, 0), begin=begin, end=end)
        for begin, end in zip(begins.tolist(), ends, strict=True)
    ]


def draw(pieces: Sequence[Piece], amounts: Amounts, rng: np.random.Generator) -> list[Piece]:
    """Pieces in a random order until they hold enough targets, too long ones cut short."""
    drawn: list[Piece] = []
    num_targets = 0
    for index in rng.permutation(len(pieces)):
        if num_targets >= amounts.num_targets:
            break
        piece = pieces[index]
        end = min(piece.end, piece.begin + amounts.piece_targets)
        drawn.append(Piece(given_from=piece.given_from, begin=piece.begin, end=end))
        num_targets += drawn[-1].num_targets
    return drawn


def groups(drawn: Sequence[Piece], tape: Tokens) -> list[list[Piece]]:
    """Pieces that one process may be shown: nothing that is given for one is asked for in another.

    A BOS that is given alone says nothing. Within a group the pieces keep the order that they were
    drawn in, because an order by place or by length would tell.
    """
    last_targets: list[int] = []
    group_of: dict[Piece, int] = {}
    for piece in sorted(drawn, key=lambda piece: piece.begin):
        is_plain = piece.given_from == piece.begin and tape[piece.begin] == DOCUMENT_START
        first_told = piece.begin + 1 if is_plain else piece.given_from
        fitting = (i for i, last in enumerate(last_targets) if last < first_told)
        group_of[piece] = index = next(fitting, len(last_targets))
        last_targets[index : index + 1] = [piece.end]
    return [[p for p in drawn if group_of[p] == i] for i in range(len(last_targets))]


def rounds(group: Sequence[Piece], num_lanes: int) -> list[Sequence[Piece]]:
    """A group's pieces in batches of so many."""
    return [group[i : i + num_lanes] for i in range(0, len(group), num_lanes)]


def loss_places(pieces: Sequence[Piece]) -> NDArray[np.int64]:
    """(N,) where each target's loss stands in the losses of the whole tape, piece after piece."""
    return np.concatenate([np.arange(piece.begin, piece.end) for piece in pieces])


def count_documents(pieces: Sequence[Piece], tape: Tokens) -> int:
    """Documents that hold a target of any of the pieces; a target BOS belongs to the one before."""
    begins = np.union1d([0], np.flatnonzero(tape[:-1] == DOCUMENT_START))
    return len(np.unique(np.searchsorted(begins, loss_places(pieces), side="right")))
