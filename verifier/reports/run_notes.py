"""What the runs showed beside the seeds' figures, a line each; information, never a verdict."""

import math
from statistics import fmean

from verifier.reports import figures
from verifier.schemas.probe_record_json import ProbeRecord
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement
from verifier.schemas.stream_record_json import NO_STREAM, DecodeRecord, StreamRecord
from verifier.schemas.verdict_json import VerdictFile

MIN_STEPS_GAP = 0.02
"""Share by which our runs may do fewer or more steps than the claim's before it is told."""
MUTATIONS = {"corrupted": "a corrupted artifact", "other_seed": "another seed's artifact"}


def run_notes(verdict: VerdictFile) -> tuple[str, ...]:
    """Pace against the claim, repeated attempts, the author's seeds, replays, packages."""
    notes = [pace_note(verdict), floor_note(verdict), probe_note(verdict)]
    notes += [stream_note(stream) for stream in verdict.streams]
    notes += [sampled_note(verdict), fresh_note(verdict)]
    for seed in verdict.measurements:
        notes += [f"seed {seed.seed}: an attempt does not count: {a.reason}" for a in seed.attempts]
    notes += [_replication(run, verdict) for run in verdict.replications]
    notes += [
        f"seed {m.seed} evaluated on {MUTATIONS[m.kind]}: "
        f"{figures.bpb(m.mutated_bpb)} BPB ({m.detail}), {figures.bpb(m.val_bpb)} with its own"
        for m in verdict.mutations
    ]
    opened = [set(m.cold_start.packages) for m in verdict.measurements if m.cold_start]
    if opened:
        # By anybody on this machine: what one seed alone saw, another program may have opened.
        packages = ", ".join(sorted(set.intersection(*opened)))
        notes.append(f"packages opened in every evaluation: {packages or 'none'}")
    return tuple(note for note in notes if note)


def pace_note(verdict: VerdictFile) -> str | None:
    """Steps and time a step here and in the claim, and the BPB that our curve points to there.

    A host that is slow does fewer steps in the same time. The training loss falls about linearly in
    ln(step); the BPB is moved by that slope, in proportion to the loss.
    """
    ours = [m for m in verdict.measurements if m.outcome == "completed" and m.num_steps]
    theirs = [s for s in verdict.claims.seeds if s.num_steps]
    if not ours or not theirs:
        return None
    here = fmean(m.num_steps or 0 for m in ours)
    there = fmean(s.num_steps or 0 for s in theirs)
    if abs(here / there - 1) <= MIN_STEPS_GAP:
        return None
    expected = [bpb for m in ours if (bpb := _bpb_at(m, there)) is not None]
    note = f"{here:,.0f} steps{_pace(ours)} here, {there:,.0f}{_pace(theirs)} claimed"
    if len(expected) == len(ours):
        note += f"; our loss curve points to about {fmean(expected):.4f} BPB there"
    return note


def floor_note(verdict: VerdictFile) -> str | None:
    """How far from the entropy a floor run ended, and what that says against honesty."""
    floor = verdict.floor
    if floor is None:
        return None
    world = floor.world
    note = f"floor: {world.num_targets:,} tokens of a {world.source} source"
    if floor.gap_nats is None:
        return f"{note}: {floor.not_evaluated}"
    side = "above" if floor.gap_nats >= 0 else "BELOW"
    note += f"; {abs(floor.gap_nats):.5f} nats a token {side} their entropy"
    if floor.odds_nats is None:
        return note
    bets = f"no bets: {floor.no_betting}" if floor.no_betting else "bets on single tokens included"
    odds = max(floor.odds_nats, 0.0) / math.log(10)
    return f"{note}; odds against honesty 10^{odds:.1f} ({bets})"


def probe_note(verdict: VerdictFile) -> str | None:
    """What scoring changed tapes showed: noise, moves before the change, sum over the words."""
    probe = verdict.probe
    if probe is None:
        return None
    if probe.not_evaluated is not None:
        return f"probe: {probe.not_evaluated}"
    changed = [m for m in probe.moves if m.kind in ("flip", "poison") and not m.not_scored]
    before = max((m.in_document_nats or 0.0 for m in changed), default=None)
    note = f"probe: {probe.num_targets:,} tokens scored {_times(probe)} ({probe.how}); "
    if probe.noise_nats is not None:
        note += f"noise {probe.noise_nats:.2g} nats; "
    note += (
        "no changed text was scored"
        if before is None
        else f"losses before a change move by {before:.2g}"
    )
    if probe.vocabulary_sum is not None:
        error = probe.vocabulary_error or 0.0
        note += f"; probabilities add up to {probe.vocabulary_sum:.3f} ± {error:.2g} over the words"
    if probe.over_training_nats is not None:
        note += f"; validation {probe.over_training_nats:+.3f} nats over training documents"
    alone = next((m for m in probe.moves if m.kind == "alone" and m.mean_nats is not None), None)
    return f"{note}; a document alone {alone.mean_nats:+.4f} nats a token" if alone else note


def _times(probe: ProbeRecord) -> str:
    """How often, and by what was it foreseen."""
    if probe.base_seconds is None:
        return f"{probe.num_evaluations} times"
    return (
        f"{probe.num_evaluations} times in {probe.tapes_seconds:,.0f} s, where "
        f"{probe.planned_evaluations} times {probe.base_seconds:.1f} s were planned"
    )


def sampled_note(verdict: VerdictFile) -> str | None:
    """How its evaluation scores what its own predictor wrote."""
    sampled = verdict.sampled
    if sampled is None or sampled.not_evaluated == NO_STREAM:
        return None
    if sampled.entropy_nats is None or sampled.evaluated_nats is None:
        return f"a text of its own: {sampled.not_evaluated}"
    return (
        f"a text of its own: {sampled.num_targets:,} tokens of {sampled.entropy_nats:.6f} nats; "
        f"evaluation gives them {sampled.evaluated_nats:.6f}, bets won "
        f"e^{sampled.betting_odds_nats or 0.0:.2f}"
    )


def fresh_note(verdict: VerdictFile) -> str | None:
    """Bits a byte of validation documents and of fresh ones, and what the difference is worth."""
    fresh = verdict.fresh
    if fresh is None:
        return None
    if fresh.gap_bpb is None:
        return f"fresh documents: {fresh.not_evaluated}"
    note = (
        f"fresh documents: {fresh.num_fresh} of {fresh.source} {fresh.fresh_bpb:.4f} bits a byte, "
        f"{fresh.num_validation} validation documents {fresh.validation_bpb:.4f}; "
        f"{fresh.gap_bpb:+.4f} ± {fresh.error_bpb:.4f} where equally hard (p = {fresh.p_value:.2g})"
    )
    if fresh.sidecar_bytes is None:
        return note
    return (
        f"{note}; text before {fresh.transform}, where validation has {fresh.sidecar_text_bytes:,} "
        f"bytes and its sidecar says {fresh.sidecar_bytes:,}"
    )


def stream_note(stream: StreamRecord) -> str:
    """What was scored token by token, how far evaluation agrees, and whether it decodes."""
    note = f"seed {stream.seed} streamed: "
    if stream.loss_nats is None:
        return f"{note}{stream.not_evaluated or stream.broken}"
    note += (
        f"{stream.num_targets:,} of {stream.tape_targets:,} tokens in {stream.num_documents:,} "
        f"documents, {stream.loss_nats:.6f} nats each"
    )
    if stream.num_targets < stream.num_drawn:
        note += f", of {stream.num_drawn:,} drawn, which there was no time for"
    if stream.predicting_seconds > 0:
        note += f", {stream.num_targets / stream.predicting_seconds:,.0f} tokens a second"
    if stream.largest_difference_nats is not None:
        note += f"; evaluation differs by {stream.largest_difference_nats:.2g} nats at most"
    return f"{note}; {_decoded(stream.decoded)}" if stream.decoded else note


def _decoded(record: DecodeRecord) -> str:
    if record.broken is not None:
        return f"not decoded: {record.broken}"
    if record.first_difference is not None:
        return (
            f"its code cannot be decoded from token {record.first_difference:,} on, because two "
            "starts predict differently"
        )
    return (
        f"decoded again from {record.code_bytes:,} bytes, where the score says "
        f"{record.score_bytes:,.0f}"
    )


def _bpb_at(seed: SeedMeasurement, num_steps: float) -> float | None:
    slope, loss, bpb = seed.loss_per_log_step, seed.val_loss_nats, seed.val_bpb
    if slope is None or not loss or bpb is None or not seed.num_steps:
        return None
    return bpb * (1 + slope * math.log(num_steps / seed.num_steps) / loss)


def _pace(runs: list[SeedMeasurement] | list[SeedClaimed]) -> str:
    """Milliseconds a step by the scripts' own clocks."""
    known = [
        1000 * seconds / run.num_steps
        for run in runs
        if run.num_steps and (seconds := _train_seconds(run)) is not None
    ]
    return f" of {fmean(known):.1f} ms" if known else ""


def _train_seconds(run: SeedMeasurement | SeedClaimed) -> float | None:
    return run.script_train_seconds if isinstance(run, SeedMeasurement) else run.train_seconds


def _replication(run: SeedMeasurement, verdict: VerdictFile) -> str:
    claim = next((s for s in verdict.claims.seeds if s.seed == run.seed), None)
    said = figures.bpb(claim.val_bpb if claim else None)
    is_same = claim is not None and run.losses_sha256 == claim.losses_sha256 is not None
    losses = "; the training losses are the log's, digit for digit" if is_same else ""
    return (
        f"the author's seed {run.seed}: {run.outcome}, {figures.bpb(run.val_bpb)} BPB here, "
        f"{said} in its log{losses}"
    )
