"""The rung itself: train once, score the changed tapes, set the losses side by side."""

import itertools
import secrets
from pathlib import Path

import numpy as np

from verifier.probe.asking import ask
from verifier.probe.overlap import search
from verifier.probe.scored import Scored
from verifier.probe.scoring import Scorer, tokens_of
from verifier.probe.tapes.canaries import plant
from verifier.probe.tapes.neighbours import replace_neighbours
from verifier.probe.tapes.order import can_decide, draw_orders, rearrange
from verifier.probe.tapes.strewn import draw_spliced
from verifier.probe.tapes.variants import (
    Sample,
    Tokens,
    Variant,
    can_be_changed,
    choose_sample,
    draw_changed,
    law_of,
    longest_alone,
    plain,
    training_tape,
)
from verifier.runs.delivery import disk_errors
from verifier.runs.harness import Executed, Harness
from verifier.runs.journal import recorded, write_record
from verifier.runs.plan import PreparedRun
from verifier.runs.processes import Setting
from verifier.schemas.probe_record_json import ProbeRecord
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.track_data import locate_data

SECRET_BYTES = 16
SAMPLE_TARGETS = 65_536
"""A multiple of all customary lengths of sequences, and so are its halves that a slow one gets."""
MIN_SAMPLE_TARGETS = 8_192
EVALUATION_SECONDS = 60.0
"""A tape is halved until the first seed's speed scores it in so long."""


def probe(
    prepared: PreparedRun, harness: Harness, executed: Executed, whole_data: Path | None
) -> ProbeRecord:
    """Probe the first seed of the runs; the record on disk where there is one.

    Args:
        prepared: the plan, whose data may be a small copy.
        harness: all that runs need.
        executed: the runs of the plan.
        whole_data: the folder of all data, or None for the track's own.

    Raises:
        DataError: the whole data are not there, or malformed.
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written.
        KeyboardInterrupt: the running process was killed.
    """
    folder = harness.journal.folder / "probe"
    if (done := recorded(folder / "probe.json", ProbeRecord)) is not None:
        return done
    harness.observer.note("searching the training data for validation documents")
    whole = locate_data(harness.track.dataset, whole_data, prepared.data.dataset.name)
    record = _probed(prepared, harness, executed).model_copy(update={"overlap": search(whole)})
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    write_record(folder / "probe.json", record)
    return record


def tapes(
    sample: Sample, training: Tokens, rng: np.random.Generator, promise: str | None = None
) -> tuple[Variant, ...]:
    """Everything that the script is asked to score at first, the unchanged sample before all.

    What only a promise of documents is judged by is scored where there is one.

    Args:
        sample: the text as it is.
        training: a shard.
        rng: draws all changes.
        promise: what the contract says of documents: alone, apart or nothing.
    """
    has_neighbours = promise in ("alone", "apart") and len(sample.documents) > 1
    is_alone = promise == "alone" and len(sample.documents) > 1
    orders: tuple[Variant, ...] = ()
    if can_decide(sample):
        orders = draw_orders(sample, rng)
    elif is_alone:
        orders = (rearrange(sample, rng),)
    return (
        plain(sample, "base"),
        draw_spliced(sample, rng),
        *draw_changed(sample, rng),
        *((longest_alone(sample),) if is_alone else ()),
        *orders,
        *((replace_neighbours(sample, law_of(sample), rng),) if has_neighbours else ()),
        plant(sample, law_of(sample), rng),
        training_tape(training, sample, rng),
    )


def _num_targets(first: SeedMeasurement, num_tokens: int) -> int:
    """How much of the text is scored for every tape: what adapts to its text takes its time."""
    num_targets, seconds = SAMPLE_TARGETS, first.phases.evaluation or 0.0
    while num_targets > MIN_SAMPLE_TARGETS:
        if seconds * min(num_targets / num_tokens, 1.0) <= EVALUATION_SECONDS:
            break
        num_targets //= 2
    return num_targets


def _probed(prepared: PreparedRun, harness: Harness, executed: Executed) -> ProbeRecord:
    secret, first = secrets.token_hex(SECRET_BYTES), executed.measurements[0]
    if first.outcome != "completed":
        return ProbeRecord(secret=secret, not_evaluated=f"{first.outcome}: {first.detail}")
    if prepared.plan.evaluation is None and harness.sandbox.sees_host_paths:
        why = f"a run as {harness.sandbox.name} sees the real validation data"
        return ProbeRecord(secret=secret, not_evaluated=why)
    rng = np.random.default_rng(int(secret, 16))
    tokens = np.concatenate(tokens_of(prepared.data, "val"))
    sample = choose_sample(tokens, _num_targets(first, len(tokens)) + 1, rng)
    if not can_be_changed(sample):
        why = (
            f"the {len(sample.tokens):,} validation tokens are too few, or all alike, to be changed"
        )
        return ProbeRecord(secret=secret, not_evaluated=why)
    training = tokens_of(prepared.data, "train")[0]
    promise = (harness.submission.contract or {}).get("documents")
    planned = tapes(sample, training, rng, promise if isinstance(promise, str) else None)
    scorer = Scorer(
        setting=Setting(prepared=prepared, harness=harness), seed=first.seed, sample=sample
    )
    record = _of_all_tapes(sample, planned, scorer, secret)
    return record.model_copy(
        update={
            "how": scorer.how,
            "promises_alone": promise == "alone",
            "promises_apart": promise in ("alone", "apart"),
        }
    )


def _of_all_tapes(
    sample: Sample, planned: tuple[Variant, ...], scorer: Scorer, secret: str
) -> ProbeRecord:
    """All tapes, and the sample once more with the instrument inside, where none was."""
    observer = scorer.setting.harness.observer
    is_apart = scorer.setting.prepared.plan.evaluation is not None
    num_planned, numbers = len(planned) + is_apart, itertools.count(1)

    def score(variant: Variant) -> Scored:
        number = next(numbers)
        observer.run_started(f"probe {variant.name} ({number}/{max(num_planned, number)})")
        scored = scorer.score(variant)
        if number == 1:
            observer.note(_foreseen(num_planned, scored.wall_seconds))
        return scored

    record = ask(sample, planned, score, secret)
    record = record.model_copy(update={"planned_evaluations": num_planned})
    if not is_apart or record.num_losses is None:
        return record
    observer.run_started("probe with an instrument inside")
    watched = scorer.watch(planned[0])
    return record.model_copy(
        update={
            "ledger": record.ledger or watched.ledger,
            "num_evaluations": record.num_evaluations + 1,
            "tapes_seconds": record.tapes_seconds + watched.wall_seconds,
        }
    )


def _foreseen(num_evaluations: int, seconds: float) -> str:
    minutes = num_evaluations * seconds / 60
    return (
        f"{num_evaluations} evaluations are planned; the first took {seconds:.1f} s, so about "
        f"{minutes:.1f} min, and longer where a change moves what must not move"
    )
