"""The rung itself: train once, score the changed tapes, set the losses side by side."""

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np

from verifier.probe.assessment import assess, loudest, with_doubt
from verifier.probe.canaries import plant
from verifier.probe.neighbours import replace_neighbours
from verifier.probe.order import draw_orders
from verifier.probe.overlap import search
from verifier.probe.scoring import Scorer, tokens_of
from verifier.probe.variants import (
    Sample,
    Tokens,
    Variant,
    can_be_changed,
    choose_sample,
    draw_variants,
    law_of,
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


def tapes(sample: Sample, training: Tokens, rng: np.random.Generator) -> tuple[Variant, ...]:
    """Everything that the script is asked to score, the unchanged sample first."""
    return (
        *draw_variants(sample, rng),
        *(draw_orders(sample, rng) if len(sample.documents) > 2 else ()),
        *((replace_neighbours(sample, law_of(sample), rng),) if len(sample.documents) > 1 else ()),
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
    variants = tapes(sample, training, rng)
    scorer = Scorer(
        setting=Setting(prepared=prepared, harness=harness), seed=first.seed, sample=sample
    )
    record = _of_all_tapes(sample, variants, scorer, secret)
    promise = (harness.submission.contract or {}).get("documents")
    return record.model_copy(
        update={
            "how": scorer.how,
            "promises_alone": promise == "alone",
            "promises_apart": promise in ("alone", "apart"),
        }
    )


def _of_all_tapes(
    sample: Sample, variants: tuple[Variant, ...], scorer: Scorer, secret: str
) -> ProbeRecord:
    """All tapes, then once more the one that moved most, and one with the instrument inside."""
    observer, scored = scorer.setting.harness.observer, {}
    for i, variant in enumerate(variants, start=1):
        observer.run_started(f"probe {variant.kind} ({i}/{len(variants)})")
        scored[variant.name] = scorer.score(variant)
        if scored["base"].losses is None:
            break  # nothing to compare the others with
    record = assess(sample, variants, scored, secret)
    if (name := loudest(record)) is not None:
        observer.run_started(f"probe {name}, once more")
        [moved] = [variant for variant in variants if variant.name == name]
        again = scorer.score(replace(moved, name=f"{name}_again"))
        record = with_doubt(record, moved, (scored[name], again))
    if scorer.setting.prepared.plan.evaluation is None or scored["base"].losses is None:
        return record
    observer.run_started("probe with an instrument inside")
    return record.model_copy(update={"ledger": record.ledger or scorer.watch(variants[0]).ledger})
