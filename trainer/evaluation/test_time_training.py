"""Test-time training: score a chunk, only then learn from it.

As in #77 and the records from #1530 on: each document has low-rank adapters of its own and is read
chunk by chunk from left to right. One forward pass over the chunk and what precedes it gives the
loss of every token of the chunk: its score, for good. The same losses' mean then moves the
adapters by one Adam step, for the chunks to come; the last chunk is scored and not learnt from.
Where the recipe has phases, the longest documents are scored first, and after each part of them all
weights learn from all documents scored so far, for the documents to come (`global_sgd`).

Without phases and with cold adapters no document sees anything of another. Otherwise it knows what
was learnt from documents scored before, in an order that goes by their lengths.

What differs from the public scripts: all documents start from the same random adapters, so that a
score does not depend on the place in a batch. A window ends where a whole chunk would, not with the
document: how long a document is, nobody knows who reads it token by token. A phase ends with its
last document, not where a process happens to be, so that scores do not depend on timing. Logits
are made for the chunk alone.

B documents, T tokens, L tokens of a chunk, N targets in all.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from trainer.evaluation.adapters import Adapters
from trainer.evaluation.chunk_passes import Passes, chunks_of
from trainer.evaluation.compiled_passes import Forward, forward_pass
from trainer.evaluation.document_batches import (
    DocumentBatch,
    dealt_batches,
    find_documents,
    parts_between_phases,
)
from trainer.evaluation.global_sgd import WeightLearner
from trainer.evaluation.order_ledger import OrderLedger
from trainer.evaluation.recorded_passes import RecordedPasses, Recorder
from trainer.model.transformer import GPT, carried_out
from trainer.process_group import ProcessGroup
from trainer.recipe import Recipe

SECONDS_BETWEEN_LINES = 10.0  # that say how far scoring is


@dataclass(frozen=True, kw_only=True, slots=True)
class LearntScores:
    """What an evaluation leaves that learns on the way."""

    losses: Tensor  # (N,) fp32, nats: of every token but the first, in order; on every process
    ledger: OrderLedger  # of this process
    compile_seconds: float  # of the time that all took


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningRun:
    """What scoring and learning work on."""

    passes: Passes
    ledger: OrderLedger


@dataclass(frozen=True, kw_only=True, slots=True)
class Conduct:
    """How scoring goes on: no score hangs on it, but for rounding."""

    backend: str | None = None  # what compiles the forward pass; None: nothing does
    recorder: Recorder | None = None  # what records passes over short windows; None: nothing does
    say: Callable[[str], None] = lambda line: None  # is told now and then how far this process is


class ScoringProgress:
    """Says now and then how far this process is, and what a token has cost it so far."""

    def __init__(self, say: Callable[[str], None], deals: Iterable[list[DocumentBatch]]) -> None:
        self._say = say
        self._num_targets = sum(
            document.num_targets for batch in chain.from_iterable(deals) for document in batch
        )
        self._num_scored = 0
        self._started = self._said = time.perf_counter()

    def over(
        self,
        batches: list[DocumentBatch],
        losses: Tensor,  # (N + 1,) fp32, nats: the scores so far
    ) -> Iterator[DocumentBatch]:
        """The batches one by one; which are asked for when those before are scored."""
        for batch in batches:
            yield batch
            self._num_scored += sum(document.num_targets for document in batch)
            now = time.perf_counter()
            if now - self._said >= SECONDS_BETWEEN_LINES:
                self._said = now
                mean = float(losses.sum()) / max(self._num_scored, 1)
                self._say(
                    f"ttt:scored {self._num_scored}/{self._num_targets} loss_so_far:{mean:.4f} "
                    f"seconds:{now - self._started:.0f}"
                )


def score_with_training(
    model: GPT,
    tokens: np.ndarray,  # (N + 1,) uint16
    recipe: Recipe,
    group: ProcessGroup,
    *,
    conduct: Conduct = Conduct(),
) -> LearntScores:
    """Score every token but the first, and learn from what was scored.

    The model has learnt nothing when this returns.

    Args:
        model: knows rows of `ttt_eval_seq_len` tokens.
        tokens: the whole text.
        recipe: says how.
        group: the processes that share the documents.
        conduct: how, which changes no score.
    """
    options = recipe.evaluation
    parts = parts_between_phases(find_documents(tokens), options)
    deals = [dealt_batches(part, options, group.world_size)[group.rank] for part in parts]
    around = nullcontext() if conduct.recorder is None else conduct.recorder.around()
    with borrowed(model), around:
        adapters = Adapters(model, options)
        started = time.perf_counter()
        forward = forward_pass(model, adapters, conduct.backend)
        compile_seconds = time.perf_counter() - started
        passes = passes_over(tokens, forward, adapters, conduct)
        run = LearningRun(passes=passes, ledger=OrderLedger(group, tokens.size - 1))
        learner = None
        if options.phased_ttt_num_phases > 0 and len(parts) > 1:
            learner = WeightLearner(model, options, group)
        progress = ScoringProgress(conduct.say, deals)
        for num_scored, batches in enumerate(deals, start=1):
            score_part(run, progress.over(batches, passes.losses))
            if learner is not None and num_scored < len(parts):
                group.barrier()  # now all of them are scored
                scored = list(chain.from_iterable(parts[:num_scored]))
                num_steps = learner.learn(scored[::-1], passes.tape)
                run.ledger.note_all_weights(scored, num_steps)
    group.sum_in_place(passes.losses)
    return LearntScores(
        losses=passes.losses[:-1], ledger=run.ledger, compile_seconds=compile_seconds
    )


def passes_over(
    tokens: np.ndarray,  # (N + 1,) uint16
    forward: Forward,
    adapters: Adapters,
    conduct: Conduct,
) -> Passes:
    """Passes of which none has been made."""
    tape = torch.from_numpy(tokens.astype(np.int32)).to(adapters.device)
    losses = torch.zeros(tokens.size, device=adapters.device)
    if conduct.recorder is None:
        return Passes(forward=forward, adapters=adapters, tape=tape, losses=losses)
    return RecordedPasses(
        forward=forward,
        adapters=adapters,
        tape=tape,
        losses=losses,
        recorder=conduct.recorder,
        longest_window=adapters.options.ttt_recorded_window,
    )


def score_part(run: LearningRun, batches: Iterable[DocumentBatch]) -> None:
    """Score documents between two phases; adapters begin anew."""
    passes, adapters = run.passes, run.passes.adapters
    adapters.renew()
    for batch in batches:
        adapters.begin(len(batch))
        run.ledger.note_batch(batch)
        for chunk in chunks_of(batch, adapters.options, passes.tape):
            adapters.keep(len(chunk.goes_on))
            passes.score(chunk)
            run.ledger.note_score(chunk.span, passes.losses[chunk.slots].sum())
            if not chunk.is_last:
                passes.learn(chunk)
                run.ledger.note_learning(chunk.span)


@contextmanager
def borrowed(model: GPT) -> Iterator[None]:
    """Within it, no pass trains the model's own weights; behind it they are what they were."""
    before = {parameter: parameter.detach().clone() for parameter in model.parameters()}
    scales = [(block, block.norm_scale) for block in model.blocks]
    wanted_grad = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    try:
        yield
    finally:
        model.through = carried_out
        for block, scale in scales:
            block.norm_scale = scale
        for parameter, wanted in wanted_grad.items():
            parameter.copy_(before[parameter])
            parameter.requires_grad_(wanted)
