"""The measured seeds against the prior record, under one profile."""

import datetime
import statistics

from verifier.records.comparison_settings import ComparisonSettings, SeedNoise
from verifier.records.ledger import PriorRecord, find_record, frontier
from verifier.records.significance import WELCH, compare_samples
from verifier.schemas.ledger_yaml import Ledger
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.run_record_json import Evidence, SeedMeasurement
from verifier.schemas.significance_json import SignificanceRecord
from verifier.schemas.track_yaml import Track


def compare_with_prior(
    evidence: Evidence, ledger: Ledger, track: Track, profile: Profile
) -> SignificanceRecord | str:
    """Test our scores against the record that stood when it was made; a text says why not.

    Every planned seed must have completed with a score: leaving out those that failed would be
    choosing seeds.
    """
    if evidence.plan.rung in ("rehearsal", "floor"):
        return "the score is of a run cut short"
    scored = [m for m in evidence.measurements if m.outcome == "completed" and m.val_bpb]
    if len(scored) < len(evidence.plan.seeds):
        missing = len(evidence.plan.seeds) - len(scored)
        return f"{missing} planned seeds have no score"
    prior = find_prior(evidence, ledger)
    if prior is None or prior.tested is None:
        return "the ledger holds no prior record to test against"
    text = _scored_text(scored[0], track)
    if text is None:
        return "tokens and bytes of the evaluation are unknown"
    settings = ComparisonSettings(
        margin_nats_per_token=profile.margin.value,
        num_tokens=text[0],
        num_bytes=text[1],
        alpha=profile.alpha,
        noise=SeedNoise(
            std_bpb=track.ledger_pooled_std_bpb.value,
            degrees_of_freedom=track.ledger_degrees_of_freedom.value,
        ),
        claimed_std_bpb=evidence.claims.val_bpb_std,
    )
    return _record([m.val_bpb for m in scored if m.val_bpb], prior, settings)


def find_prior(evidence: Evidence, ledger: Ledger) -> PriorRecord | None:
    """The record that the user named, else the frontier at the submission's date."""
    if evidence.plan.against is not None:
        named = find_record(ledger, evidence.plan.against)
        return PriorRecord(best=named, tested=named, note=None)
    date = evidence.submission_date or datetime.date.max
    return frontier(ledger, date, evidence.plan.submission)


def _scored_text(seed: SeedMeasurement, track: Track) -> tuple[float, float] | None:
    """Tokens and bytes of the evaluation: the track's pin, else what the run's figures imply."""
    num_bytes = track.dataset.scored_bytes(seed.scored_tokens) or seed.implied_bytes
    return (seed.scored_tokens, num_bytes) if seed.scored_tokens and num_bytes else None


def _record(
    values: list[float], prior: PriorRecord, settings: ComparisonSettings
) -> SignificanceRecord:
    assert prior.tested is not None
    test = compare_samples(values, prior.tested.seed_bpbs, settings)
    beats_best = prior.best.mean_bpb is None or statistics.fmean(values) < prior.best.mean_bpb
    also = {
        "passed": test.passed and beats_best,
        "warnings": test.warnings + ((prior.note,) if prior.note else ()),
    }
    return SignificanceRecord(
        prior=prior.tested.name,
        computed_from="measurements",
        test=WELCH,
        challenger_bpb=tuple(values),
        prior_bpb=prior.tested.seed_bpbs,
        **dict(test) | also,
    )
