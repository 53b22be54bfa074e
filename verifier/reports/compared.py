"""The table at the top of a page: what is claimed, what was measured, what is allowed."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from verifier.reports import figures
from verifier.reports.dossier import Dossier


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A line of the table, as it is printed."""

    what: str
    claimed: str
    measured: str
    allowed: str


def compared(dossier: Dossier) -> tuple[Compared, ...]:
    """The table, a line a quantity."""
    return (
        _score(dossier),
        _size(dossier),
        _training(dossier),
        _evaluation(dossier),
        _seeds(dossier),
    )


def _score(dossier: Dossier) -> Compared:
    verdict, test = dossier.verdict, dossier.verdict.significance
    scores = [m.val_bpb for m in verdict.measurements if m.val_bpb is not None]
    bar = fmean(test.prior_bpb) - test.margin_bpb if test and test.prior_bpb else None
    return Compared(
        what="score, BPB (mean over seeds)",
        claimed=figures.bpb(verdict.claims.val_bpb),
        measured=figures.bpb(fmean(scores) if scores else None),
        allowed=f"below {figures.bpb(bar)}" if bar is not None else figures.NOTHING,
    )


def _size(dossier: Dossier) -> Compared:
    verdict, limits = dossier.verdict, dossier.rulebook.track.limits
    sizes = [
        m.artifact_bytes + m.code_bytes.literal
        for m in verdict.measurements
        if m.artifact_bytes is not None and m.code_bytes.literal is not None
    ]
    return Compared(
        what="code and model, bytes (largest seed)",
        claimed=figures.whole(verdict.claims.bytes_total),
        measured=figures.whole(max(sizes, default=None)),
        allowed=f"up to {figures.whole(limits.artifact_bytes.value)}",
    )


def _training(dossier: Dossier) -> Compared:
    verdict, limits = dossier.verdict, dossier.rulebook.track.limits
    return Compared(
        what="training, s (slowest seed)",
        claimed=figures.seconds(_largest(s.train_seconds for s in verdict.claims.seeds)),
        measured=figures.seconds(_largest(m.phases.training for m in verdict.measurements)),
        allowed=f"up to {figures.whole(limits.train_seconds.value)}{dossier.of_full_runs}",
    )


def _evaluation(dossier: Dossier) -> Compared:
    verdict, limits = dossier.verdict, dossier.rulebook.track.limits
    return Compared(
        what="evaluation, s (slowest seed)",
        claimed=figures.seconds(_largest(s.eval_seconds for s in verdict.claims.seeds)),
        measured=figures.seconds(_largest(m.phases.evaluation for m in verdict.measurements)),
        allowed=f"up to {figures.whole(limits.eval_seconds.value)}{dossier.of_full_runs}",
    )


def _seeds(dossier: Dossier) -> Compared:
    verdict = dossier.verdict
    return Compared(
        what="seeds",
        claimed=figures.whole(len(verdict.claims.claimed_bpbs)),
        measured=figures.whole(len(verdict.measurements)),
        allowed=f"at least {figures.whole(dossier.rulebook.track.min_seeds.value)}",
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
