"""A tape from the submission's own model: whoever scores it lower than it is knows more than it.

The predictor of the rung 'stream' says how likely each next token is, we draw one, and so on. Of
such a tape every probability is known, and no model is better on it than the one that wrote it. So
what its evaluation gains is no skill, however little it is: there is no regret to hide behind.

Half of what is drawn begins with nothing, half goes on from real text, because a model or a cache
may only speak up when it has something to go by.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from verifier.floor.odds import bet, total_log_odds
from verifier.probe.assessment import TOLERANCE_NATS
from verifier.probe.scored import Scored, usable
from verifier.probe.scoring import Scorer, tokens_of
from verifier.probe.tapes.variants import Sample, Tokens, Variant
from verifier.runs.delivery import disk_errors
from verifier.runs.harness import Executed, Harness
from verifier.runs.journal import recorded, write_record
from verifier.runs.plan import PreparedRun
from verifier.runs.processes import Setting
from verifier.schemas.run_record_json import EvaluationPlan, StreamPlan
from verifier.schemas.sampled_record_json import SampledRecord
from verifier.schemas.stream_record_json import NO_STREAM
from verifier.stream.pieces import DOCUMENT_START, Piece, cut, rounds
from verifier.stream.predictor import Predictor
from verifier.stream.protocol import BrokenStreamError
from verifier.stream.streaming import Streaming

SECRET_BYTES = 16
MAX_TARGETS = 49_152
"""Of the tape; of three in four of them the tokens are drawn, or of every other one."""
CONTINUED_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A tape with −ln of each target's probability; what stays of the text has none."""

    tokens: Tokens  # (N + 1,)
    surprisal: NDArray[np.float64]  # (N,) nats, NaN where nothing was drawn
    entropy: NDArray[np.float64]  # (N,) nats, of the distribution that it was drawn from


def score_sampled(prepared: PreparedRun, harness: Harness, executed: Executed) -> SampledRecord:
    """Draw a tape from the first seed's predictor and let its evaluation score it.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written.
        KeyboardInterrupt: the running process was killed.
    """
    place = harness.journal.folder / "sampled.json"
    if (done := recorded(place, SampledRecord)) is not None:
        return done
    first = executed.measurements[0]
    record = SampledRecord(seed=first.seed, secret=secrets.token_hex(SECRET_BYTES))
    if first.outcome != "completed":
        told: dict[str, object] = {"not_evaluated": f"{first.outcome}: {first.detail}"}
    elif (evaluation := prepared.plan.evaluation) is None or evaluation.stream is None:
        told = {"not_evaluated": NO_STREAM}
    else:
        setting = Setting(prepared=prepared, harness=harness)
        told = _sampled(setting, record, (evaluation, evaluation.stream))
    record = record.model_copy(update=told)
    with disk_errors(place):
        write_record(place, record)
    return record


def template(tape: Tokens, plan: StreamPlan) -> list[Piece]:
    """The first pieces of a tape, whose lengths and borders the drawn one takes over."""
    pieces = cut(tape, plan)
    ends = np.array([piece.end for piece in pieces])
    return pieces[: max(int(ends.searchsorted(MAX_TARGETS, side="right")), 1)]


def turns(pieces: Sequence[Piece], plan: StreamPlan) -> list[Sequence[Piece]]:
    """Pieces that are drawn, in rounds: what is given for each stays, or was drawn before.

    Where pieces are given tokens of others, stretches as long as that are drawn, piece after piece,
    and behind each as much is left as it is, so that the next one continues real text. Stretches
    know nothing of each other and are drawn side by side.
    """
    stretches: list[list[Piece]] = []
    for piece in pieces:
        last = stretches[-1] if stretches else [piece]
        if stretches and last[-1].end - last[0].begin < plan.context_tokens:
            last.append(piece)
        elif not stretches or piece.given_from >= last[-1].end:
            stretches.append([piece])
    in_turn = [[p for p in turn if p is not None] for turn in zip_longest(*stretches)]
    return [batch for turn in in_turn for batch in rounds(turn, plan.num_lanes)]


def draw_tape(
    tape: Tokens, groups: Sequence[Sequence[Piece]], predictor: Predictor, rng: np.random.Generator
) -> Drawn:
    """Fill pieces with tokens as the predictor says.

    Where a piece begins, and so the one before it ends, stays the token of the tape: it is given,
    not predicted. No start of a document is drawn elsewhere, because evaluation would begin anew.
    Of pieces that are given nothing else, every other one keeps its first half.

    Args:
        tape: (M + 1,) what the pieces are of.
        groups: pieces that are drawn side by side; none is given tokens of another or of a later
            one.
        predictor: a session, as its rung holds it.
        rng: draws.

    Raises:
        BrokenStreamError: the submission broke the protocol.
    """
    tokens = tape[: max(piece.end for group in groups for piece in group) + 1].copy()
    surprisal, entropy = (np.full(len(tokens) - 1, np.nan) for _ in range(2))
    drawn = Drawn(tokens=tokens, surprisal=surprisal, entropy=entropy)
    for pieces in groups:
        lengths = np.array([piece.num_targets for piece in pieces])
        is_alone = np.array([piece.given_from == piece.begin for piece in pieces])
        is_continued = is_alone & (rng.random(len(pieces)) < CONTINUED_SHARE)
        drawing = _Drawing(
            begins=np.array([piece.begin for piece in pieces]),
            lengths=lengths,
            kept=np.where(is_continued, lengths // 2, 0),
            drawn=drawn,
            rng=rng,
        )
        given = [piece.given(tokens) for piece in pieces]
        predictor.run_round(given, lengths, drawing.reveal)
    return drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawing:
    """A round over text that comes into being on the way."""

    begins: NDArray[np.int64]  # (L,)
    lengths: NDArray[np.int64]  # (L,)
    kept: NDArray[np.int64]  # (L,) first targets that stay those of the tape
    drawn: Drawn
    """Filled in place."""
    rng: np.random.Generator

    def reveal(
        self, step: int, lanes: NDArray[np.intp], log_probabilities: NDArray[np.float64]
    ) -> Tokens:
        places = self.begins[lanes] + step + 1
        goes_on = (self.lengths[lanes] > step + 1) & (self.kept[lanes] <= step)
        drawn = _draw(log_probabilities[goes_on], self.rng)
        at = places[goes_on]
        self.drawn.tokens[at], self.drawn.surprisal[at - 1], self.drawn.entropy[at - 1] = drawn
        return np.asarray(self.drawn.tokens[places])


def assess_sampled(drawn: Drawn, scored: Scored) -> dict[str, object]:
    """What its losses of the drawn tokens are worth; the fields of a record."""
    everywhere = np.arange(len(drawn.tokens))
    variant = Variant(kind="sampled", name="sampled", tokens=drawn.tokens, places=everywhere)
    losses, why = usable(variant, scored)
    if losses is None:
        return {"not_evaluated": why}
    asked = np.flatnonzero(~np.isnan(drawn.surprisal[: len(losses)]))
    if not len(asked):
        return {"not_evaluated": "every piece is one token long, so that nothing is drawn"}
    surprisal, own = drawn.surprisal[asked], losses[asked] + TOLERANCE_NATS
    return {
        "num_targets": len(asked),
        "entropy_nats": float(surprisal.mean()),
        "expected_nats": float(drawn.entropy[asked].mean()),
        "evaluated_nats": float(losses[asked].mean()),
        "total_odds_nats": total_log_odds(float(surprisal.sum()), float(own.sum())),
        "betting_odds_nats": bet(surprisal - own).odds_nats,
    }


def _sampled(
    setting: Setting, record: SampledRecord, plans: tuple[EvaluationPlan, StreamPlan]
) -> dict[str, object]:
    """Both sessions, of drawing and of scoring."""
    evaluation, plan = plans
    tape = np.concatenate(tokens_of(setting.prepared.data, "val"))
    streaming = Streaming(
        setting=setting, seed=record.seed, evaluation=evaluation, plan=plan, tape=tape
    )
    groups = turns(template(tape, plan), plan)
    rng, results = np.random.default_rng(int(record.secret, 16)), list[Drawn]()
    setting.harness.observer.run_started(f"seed {record.seed} writes a text of its own")

    def talk(predictor: Predictor) -> None:
        results.append(draw_tape(tape, groups, predictor, rng))

    try:
        seconds = streaming.hold(talk, "sampled")
    except BrokenStreamError as error:
        return {"not_evaluated": f"it broke off while it wrote: {error}"}
    [drawn] = results
    sample = Sample(tokens=drawn.tokens, begin=0)
    everywhere = np.arange(len(drawn.tokens))
    variant = Variant(kind="sampled", name="sampled", tokens=drawn.tokens, places=everywhere)
    scored = Scorer(setting=setting, seed=record.seed, sample=sample).score(variant)
    return assess_sampled(drawn, scored) | {"wall_seconds": seconds + scored.wall_seconds}


def _draw(
    log_probabilities: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Tokens, NDArray[np.float64], NDArray[np.float64]]:
    """A token for each row that starts no document, −ln of its probability, the row's entropy."""
    rows = np.exp(log_probabilities)
    rows[:, DOCUMENT_START] = 0.0
    rows /= rows.sum(axis=1, keepdims=True)
    cumulated = rows.cumsum(axis=1)
    marks = rng.random(len(rows)) * cumulated[:, -1]
    tokens = (cumulated <= marks[:, None]).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(rows > 0, -rows * np.log(rows), 0.0)
    nats = -np.log(rows[np.arange(len(rows)), tokens])
    return tokens.astype(np.uint16), nats, terms.sum(axis=1)
