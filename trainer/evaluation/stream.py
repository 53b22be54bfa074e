"""Predicting token by token, as a harness shows them: the submission's side of docs/stream.md.

The same passes as in `scoring` and `test_time_training`, with what attention has seen kept from
token to token. R lanes of a round, T tokens, V vocabulary.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError
from trainer.evaluation.adapters import Adapters
from trainer.evaluation.chunk_passes import Chunk, learn, score
from trainer.evaluation.document_batches import chunks_from_the_start, window_of
from trainer.model.memory import Memory
from trainer.model.transformer import GPT
from trainer.recipe import Recipe

STREAM_VERSION = 1
STREAM_CLOSE, STREAM_OPEN = 0, 1
MOST_STREAM_LANES = 512


class StreamedRound(Protocol):
    """Lanes side by side."""

    def predict(self) -> Tensor:
        """Log-probabilities (R, V) of each lane's next token; of lanes that are over, anything."""

    def show(self, lanes: Tensor, tokens: Tensor) -> None:
        """Take the tokens (L,) int64 that came in these lanes (L,); the others are over."""


def answer_stream(model: GPT, recipe: Recipe) -> None:
    """Answer everything that comes over the pipes that the environment names.

    Raises:
        DataError: it names none, or another protocol is spoken.
    """
    try:
        questions, answers = (os.environ[f"PGOLF_STREAM_{n}"] for n in ("TOKENS", "ANSWERS"))
    except KeyError as error:
        raise DataError(f"{error.args[0]} is not set; a harness sets it (docs/stream.md)") from None
    begin = round_maker(model, recipe)
    with open(questions, "rb") as incoming, open(answers, "wb") as outgoing:  # noqa: PTH123
        serve(begin, incoming, outgoing)


def serve(
    begin: Callable[[Sequence[np.ndarray]], StreamedRound], incoming: BinaryIO, outgoing: BinaryIO
) -> None:
    """Answer questions until they end.

    Raises:
        DataError: another protocol is spoken.
    """
    streamed: StreamedRound | None = None
    number = 0
    while header := incoming.read(16):
        version, kind, num_lanes, num_words = np.frombuffer(header, "<u4").tolist()
        if version != STREAM_VERSION:
            raise DataError(f"the harness speaks version {version} of the stream's protocol")
        if kind == STREAM_CLOSE:
            return
        words = np.frombuffer(incoming.read(4 * num_words), "<u4").astype(np.int64)
        if kind == STREAM_OPEN or streamed is None:
            ends = np.cumsum(words[:num_lanes])
            streamed = begin(np.split(words[num_lanes:], ends[:-1]))
            lanes = torch.arange(num_lanes)
        else:
            lanes, tokens = torch.from_numpy(words.reshape(-1, 2).T.copy())
            streamed.show(lanes, tokens)
        rows = streamed.predict().float().cpu()[lanes].numpy().astype("<f4")
        outgoing.write(np.array([STREAM_VERSION, number, *rows.shape], "<u4").tobytes())
        outgoing.write(rows.tobytes())
        outgoing.flush()
        number += 1


def round_maker(model: GPT, recipe: Recipe) -> Callable[[Sequence[np.ndarray]], StreamedRound]:
    """What begins a round on the tokens that its lanes are given."""
    if recipe.evaluation.ttt_enabled:
        return lambda given: LearningRound(model, recipe, given)
    return lambda given: WindowRound(model, given)


class WindowRound:
    """Lanes that see a window and learn nothing; those with equally much given go together."""

    def __init__(self, model: GPT, given: Sequence[np.ndarray]) -> None:
        self.model = model
        self.device = model.tok_emb.weight.device
        self.groups: list[tuple[Tensor, Memory]] = []
        self.next_ids: list[Tensor] = []
        for length in sorted({len(tokens) for tokens in given}):
            lanes = [lane for lane, tokens in enumerate(given) if len(tokens) == length]
            memory = Memory(model.cosine.size(0))
            self.groups.append((torch.tensor(lanes), memory))
            self.next_ids.append(torch.from_numpy(np.stack([given[lane] for lane in lanes])))
        self.num_lanes = len(given)

    @torch.inference_mode()
    def predict(self) -> Tensor:  # (R, V)
        parts = []
        for (_, memory), ids in zip(self.groups, self.next_ids, strict=True):
            with torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
                parts.append(self.model.read_on(ids.to(self.device), memory))
        order = torch.cat([lanes for lanes, _ in self.groups]).argsort()
        return torch.cat(parts)[order.to(self.device)]

    def show(self, lanes: Tensor, tokens: Tensor) -> None:
        shown = torch.zeros(self.num_lanes, dtype=torch.int64)
        shown[lanes] = tokens
        self.next_ids = [shown[own][:, None] for own, _ in self.groups]


class LearningRound:
    """Documents with an adapter each, which learns from a chunk once all of it was shown."""

    def __init__(self, model: GPT, recipe: Recipe, given: Sequence[np.ndarray]) -> None:
        self.model, self.options = model.requires_grad_(False), recipe.evaluation
        self.device = model.tok_emb.weight.device
        self.adapters = Adapters(model, self.options)
        self.memory = Memory(self.options.ttt_eval_seq_len)
        first = torch.zeros(self.options.ttt_batch_size, dtype=torch.int64)
        first[: len(given)] = torch.tensor([int(tokens[-1]) for tokens in given])
        self.columns = [first]  # the tokens of each row at each place, (B,) int64
        self.lanes = torch.arange(len(first))  # of each row
        self.row_of = torch.arange(len(first))  # of each lane; of those that are left out, any
        self.spans = chunks_from_the_start(self.options)
        self.span = next(self.spans)

    def predict(self) -> Tensor:  # (B, V)
        first = len(self.columns) - 1
        if first == self.span.start:  # the adapters have moved: read the window anew
            first = window_of(self.span, self.options).start
            self.memory = Memory(self.options.ttt_eval_seq_len)
        ids = torch.stack(self.columns[first:], dim=1).to(self.device)
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"),
        ):
            predicted = self.model.read_on(ids, self.memory, deltas=self.adapters.deltas)
        return predicted[self.row_of.to(self.device)]

    def show(self, lanes: Tensor, tokens: Tensor) -> None:
        shown, rows = torch.zeros_like(self.columns[0]), self.row_of[lanes]
        shown[rows] = tokens
        self.columns.append(shown)
        if len(self.columns) - 1 == self.span.stop:
            goes_on = torch.zeros(len(shown), dtype=torch.bool)
            goes_on[rows] = True
            self._learn(goes_on.to(self.device))
            self._leave_out(goes_on)
            self.span = next(self.spans)

    def _leave_out(self, goes_on: Tensor) -> None:  # (B,) bool
        """Rows that are over cost as much as others: a few long documents would pay for all."""
        staying = goes_on.nonzero().flatten()
        if not 0 < len(staying) < len(goes_on):
            return
        order = torch.cat((staying, (~goes_on).nonzero().flatten()))
        self.adapters.put_first(order.to(self.device))
        self.adapters.keep(len(staying))
        self.columns = [column[staying] for column in self.columns]
        self.lanes = self.lanes[staying]
        self.row_of.zero_()
        self.row_of[self.lanes] = torch.arange(len(staying))

    def _learn(self, goes_on: Tensor) -> None:
        """One step of each lane's adapter that goes on, as in `score_part`."""
        window = window_of(self.span, self.options)
        tape = torch.stack(self.columns, dim=1).to(self.device)
        starts = torch.arange(len(tape), device=self.device)[:, None] * tape.size(1)
        places = starts + torch.arange(window.start, window.stop, device=self.device)
        scored = torch.arange(len(window) - len(self.span), len(window), device=self.device)
        chunk = Chunk(
            span=self.span,
            places=places,
            scored=scored,
            slots=places[:, scored],
            goes_on=goes_on,
            is_last=False,
        )
        forward = partial(self.model, deltas=self.adapters.deltas)
        unused = torch.zeros(tape.numel(), device=self.device)
        learn(self.adapters, chunk, score(forward, chunk, tape.flatten(), unused))


def unstreamed(recipe: Recipe) -> str:
    """The setting without which a recipe could be streamed; empty if it can be.

    A harness shows documents in an order of its own, so none may learn from others.
    """
    if not recipe.evaluation.ttt_enabled:
        return "batch.pack_documents to false" if recipe.batch.pack_documents else ""
    if recipe.evaluation.phased_ttt_num_phases > 0:
        return "evaluation.phased_ttt_num_phases to 0"
    return "evaluation.ttt_warm_start_a to false" if recipe.evaluation.ttt_warm_start_a else ""
