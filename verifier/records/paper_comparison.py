"""The claimed seeds against the prior record, under one profile; without scipy, which costs time.

On paper a test can only count against its author: claims that pass prove nothing, claims that fail
have failed at their own figures.
"""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from verifier.records.ledger import PriorRecord, frontier
from verifier.records.significance import WELCH, welch_error
from verifier.schemas.ledger_yaml import Ledger
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.run_record_json import ClaimedValues
from verifier.schemas.significance_json import SignificanceRecord
from verifier.schemas.track_yaml import Track
from verifier.units import bits_per_byte

EXTERNAL = "one-sided t-test of one seed with the ledger's pooled deviation"
UNDATED = "submission.json gives no date, so the prior record is unknown"
_PANELS = 400  # of Simpson's rule; within 1e-6 of the exact tail from one degree of freedom on


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedGain:
    """How far a claim lies below the record that stood the day before."""

    bpb: float
    prior: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tested:
    """Which test, and what it says."""

    test: str
    p_value: float
    degrees_of_freedom: float


def compare_claims(
    claims: ClaimedValues, submission: str, ledger: Ledger, profile: Profile, track: Track
) -> SignificanceRecord | str:
    """Test the claimed scores against the record that stood the day before; a text says why not.

    The ledger knows days and not hours: rows of the submission's own day are left out, because on
    paper the doubt is the author's.
    """
    prior = _prior(claims, submission, ledger)
    if isinstance(prior, str):
        return prior
    values, margin = claims.claimed_bpbs, _margin_bpb(claims, profile, track)
    if margin is None:
        return "tokens and bytes of the evaluation are unknown, so the margin has no BPB"
    assert prior.tested is not None
    tested = _test(values, prior.tested.seed_bpbs, margin, track)
    if tested is None:
        return "the claimed seeds show no spread, so no test can be computed"
    passed = tested.p_value < profile.alpha and fmean(values) < (prior.best.mean_bpb or math.inf)
    return SignificanceRecord(
        prior=prior.tested.name,
        computed_from="claims",
        test=tested.test,
        challenger_bpb=values,
        prior_bpb=prior.tested.seed_bpbs,
        gain_bpb=fmean(prior.tested.seed_bpbs) - fmean(values),
        margin_bpb=margin,
        margin_nats_per_token=profile.margin.value,
        p_value=tested.p_value,
        alpha=profile.alpha,
        passed=passed,
        ci_low=None,
        ci_high=None,
        degrees_of_freedom=tested.degrees_of_freedom,
        smallest_p=None,
        seeds_for_80_power=None,
        external_p_value=None,
        warnings=(prior.note,) if prior.note else (),
    )


def claimed_gain(claims: ClaimedValues, submission: str, ledger: Ledger) -> ClaimedGain | str:
    """The claim below the best record of the day before, no test; a text says why not."""
    values = claims.claimed_bpbs or (() if claims.val_bpb is None else (claims.val_bpb,))
    if not values:
        return "no score is claimed"
    if claims.date is None:
        return UNDATED
    prior = frontier(ledger, claims.date - datetime.timedelta(days=1), submission)
    if prior is None or prior.best.mean_bpb is None:
        return "the ledger holds no prior record"
    return ClaimedGain(bpb=prior.best.mean_bpb - fmean(values), prior=prior.best.name)


def student_t_tail(t: float, degrees_of_freedom: float) -> float:
    """P(T >= t) of Student's distribution, for one degree of freedom or more, within 1e-6.

    With x = √ν tan θ the density becomes C cosᵛ⁻¹ θ, which Simpson's rule integrates.
    """
    end = math.atan(t / math.sqrt(degrees_of_freedom))
    log_constant = math.lgamma((degrees_of_freedom + 1) / 2) - math.lgamma(degrees_of_freedom / 2)
    constant = math.exp(log_constant) / math.sqrt(math.pi)
    width = end / _PANELS
    weights = (1 if i in (0, _PANELS) else 4 if i % 2 else 2 for i in range(_PANELS + 1))
    heights = (math.pow(math.cos(i * width), degrees_of_freedom - 1) for i in range(_PANELS + 1))
    area = width / 3 * math.fsum(w * h for w, h in zip(weights, heights, strict=True))
    return min(1.0, max(0.0, 0.5 - constant * area))


def _prior(claims: ClaimedValues, submission: str, ledger: Ledger) -> PriorRecord | str:
    if not claims.claimed_bpbs:
        return "no score of a single seed is claimed"
    if claims.date is None:
        return UNDATED
    prior = frontier(ledger, claims.date - datetime.timedelta(days=1), submission)
    if prior is None or prior.tested is None:
        return "the ledger holds no prior record to test against"
    return prior


def _margin_bpb(claims: ClaimedValues, profile: Profile, track: Track) -> float | None:
    """The profile's margin in BPB of the submission's tokenizer; None where that is unknown.

    Where no tokens are counted, a printed loss and BPB tell how many nats make one.
    """
    if profile.margin.value == 0:
        return 0.0
    num_bytes = track.dataset.scored_bytes(claims.scored_tokens) or claims.implied_bytes
    if not claims.scored_tokens or not num_bytes:
        return profile.margin.value / claims.nats_per_bpb if claims.nats_per_bpb else None
    return bits_per_byte(profile.margin.value, claims.scored_tokens, num_bytes)


def _test(
    values: Sequence[float], prior: Sequence[float], margin: float, track: Track
) -> _Tested | None:
    excess = fmean(prior) - fmean(values) - margin
    if len(values) == 1:
        degrees = track.ledger_degrees_of_freedom.value
        error = track.ledger_pooled_std_bpb.value * math.sqrt(1 + 1 / len(prior))
        return _tested(EXTERNAL, excess / error, degrees)
    variances = variance(values), variance(prior)
    if not any(variances):
        return None
    welch = welch_error(variances, (len(values), len(prior)))
    return _tested(WELCH, excess / welch.standard_error, welch.degrees_of_freedom)


def _tested(test: str, t: float, degrees: float) -> _Tested:
    return _Tested(test=test, p_value=student_t_tail(t, degrees), degrees_of_freedom=degrees)
