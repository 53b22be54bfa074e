"""The source that a world's tokens are drawn from, whose every probability we know.

A token's rank is drawn from Zipf's law; which token has which rank is a secret that depends on the
kind of document and on the class of the token before. With one class the tokens of a document are
independent, with several they are a Markov chain of order one. The two kinds of document, easy and
hard, share no token, so that one token of context tells which it is. Training data mix them; the
validation tape has all easy documents before all hard ones, so that a tail that is silently left
out shows in the mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.schemas.floor_record_json import SourceKind

NUM_CLASSES: dict[SourceKind, int] = {"zipf": 1, "markov": 4}
"""Classes of the token before; four make a table that a minute of training learns well."""
EXPONENTS = (1.0, 0.4)
"""Of Zipf's law in easy and in hard documents: about one nat a token apart."""
HARD_SHARE = 0.25
"""Of the validation tape's tokens, and of the training documents."""
EASY, HARD = 0, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Tape:
    """A stretch of tokens, with −ln P of each but the first given all before it."""

    tokens: NDArray[np.uint16]  # (N + 1,)
    surprisal: NDArray[np.float64]  # (N,) nats

    @property
    def num_targets(self) -> int:
        return len(self.surprisal)

    @property
    def floor_nats(self) -> float:
        """L* = −ln P of the whole tape."""
        return float(self.surprisal.sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class Alphabet:
    """What documents are made of."""

    bos: int
    """The id that starts every document."""
    words: NDArray[np.int64]  # (2 M,) ids of everything else; an odd one out is not used


class Source:
    """A distribution over tapes, fixed by a secret that it draws when it is made."""

    def __init__(
        self, kind: SourceKind, alphabet: Alphabet, document_tokens: int, rng: np.random.Generator
    ) -> None:
        """Draw the secret: which kind and class a word belongs to, and everyone's ranks.

        Args:
            kind: independent tokens, or a Markov chain.
            alphabet: the ids to use.
            document_tokens: mean length of a document, without its start.
            rng: every later draw comes from it too.
        """
        half, num_classes = len(alphabet.words) // 2, NUM_CLASSES[kind]
        self._rng = rng
        self._bos = alphabet.bos
        self._end_probability = 1.0 / document_tokens
        words = rng.permutation(alphabet.words)[: 2 * half].reshape(2, half)
        self._class = rng.integers(num_classes, size=int(alphabet.words.max()) + 1)
        self._by_rank = np.stack(  # (2, C, M) ids by kind, class of the token before, rank
            [[rng.permutation(words[kind]) for _ in range(num_classes)] for kind in (EASY, HARD)]
        )
        weights = np.stack([np.arange(1.0, half + 1) ** -exponent for exponent in EXPONENTS])
        self._probabilities = weights / weights.sum(axis=1, keepdims=True)  # (2, M)

    @property
    def num_parameters(self) -> int:
        """Probabilities in its table."""
        return int(self._by_rank.size)

    def draw_training(self, num_tokens: int) -> NDArray[np.uint16]:
        """Documents of both kinds in random order, cut at `num_tokens`, which is one at least."""
        lengths = self._lengths(num_tokens)
        kinds = (self._rng.random(len(lengths)) < HARD_SHARE).astype(np.int64)
        return self._documents(lengths, kinds)[0][:num_tokens]

    def draw_tape(self, num_targets: int) -> Tape:
        """Easy documents, then hard ones; either stretch may end in the middle of a document.

        Args:
            num_targets: tokens behind the first; enough for one hard one.
        """
        num_hard = int(num_targets * HARD_SHARE)
        tokens, surprisal = [], []
        for kind, num_tokens in ((EASY, num_targets + 1 - num_hard), (HARD, num_hard)):
            lengths = self._lengths(num_tokens)
            drawn, costs = self._documents(lengths, np.full(len(lengths), kind))
            costs[0] = 0.0  # where a stretch begins a document does, for certain
            tokens.append(drawn[:num_tokens])
            surprisal.append(costs[:num_tokens])
        return Tape(tokens=np.concatenate(tokens), surprisal=np.concatenate(surprisal)[1:])

    def _lengths(self, num_tokens: int) -> NDArray[np.int64]:
        """Lengths of documents, one token at least, that together with their starts suffice."""
        at_once = 1 + int(num_tokens * self._end_probability)
        lengths = np.empty(0, dtype=np.int64)
        while (ends := (lengths + 1).cumsum()).max(initial=0) < num_tokens:
            more = self._rng.geometric(self._end_probability, size=at_once)
            lengths = np.concatenate([lengths, more])
        return lengths[: int(ends.searchsorted(num_tokens)) + 1]

    def _documents(
        self,
        lengths: NDArray[np.int64],  # (D,)
        kinds: NDArray[np.int64],  # (D,)
    ) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
        """Whole documents behind their starts, and −ln P of each token given its document's kind.

        A document ends with probability h after each of its tokens, so a start costs −ln h, and
        every token but a document's first −ln(1 − h) beside its own surprise.
        """
        begins = np.concatenate([[0], (lengths + 1).cumsum()])
        is_start = np.zeros(begins[-1], dtype=bool)
        is_start[begins[:-1]] = True
        of_kind = np.repeat(kinds, lengths)
        ranks = self._ranks(of_kind)
        surprisal = np.full(begins[-1], -np.log(self._end_probability))
        surprisal[~is_start] = -np.log(self._probabilities[of_kind, ranks])
        surprisal[~is_start & ~np.roll(is_start, 1)] -= np.log1p(-self._end_probability)
        tokens = np.full(begins[-1], self._bos, dtype=np.int64)
        tokens[~is_start] = ranks
        self._name(tokens, begins, kinds)
        return tokens.astype(np.uint16), surprisal

    def _ranks(self, kinds: NDArray[np.int64]) -> NDArray[np.int64]:
        """A rank for each token of a document of the given kind."""
        uniform, ranks = self._rng.random(len(kinds)), np.empty(len(kinds), dtype=np.int64)
        for kind in (EASY, HARD):
            cumulated = self._probabilities[kind].cumsum()[:-1]
            ranks[kinds == kind] = cumulated.searchsorted(uniform[kinds == kind], side="right")
        return ranks

    def _name(
        self,
        tokens: NDArray[np.int64],  # ranks, and starts at `begins`; made ids in place
        begins: NDArray[np.int64],  # (D + 1,)
        kinds: NDArray[np.int64],  # (D,)
    ) -> None:
        """Replace ranks by ids, all documents abreast: a rank's id hangs on the id before it.

        A document's first token counts as one behind class 0.
        """
        lengths = np.diff(begins) - 1
        order = np.argsort(-lengths, kind="stable")  # those still going on are the first so many
        starts, lengths, kinds = begins[:-1][order], lengths[order], kinds[order]
        classes = np.zeros(len(order), dtype=np.int64)
        for step in range(1, int(lengths.max()) + 1):
            going = int((-lengths).searchsorted(-step, side="right"))
            at = starts[:going] + step
            tokens[at] = self._by_rank[kinds[:going], classes[:going], tokens[at]]
            classes[:going] = self._class[tokens[at]]
