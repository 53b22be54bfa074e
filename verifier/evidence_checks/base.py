"""The protocol of an evidence check: (EvidenceCase, Rule) → CheckResult."""

from collections.abc import Callable
from dataclasses import dataclass

from verifier.findings import PASSED, CheckResult, Finding, cannot_tell, not_offered
from verifier.records.paper_comparison import ClaimedGain
from verifier.runs.visibility import TRAINING
from verifier.schemas.floor_record_json import FloorRecord
from verifier.schemas.fresh_record_json import FreshRecord
from verifier.schemas.probe_record_json import LedgerRecord, ProbeRecord
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import (
    ClaimedValues,
    Evidence,
    SeedClaimed,
    SeedMeasurement,
)
from verifier.schemas.significance_json import SignificanceRecord
from verifier.schemas.track_yaml import Track

NOTHING_RUN = "nothing was run; the logs' own figures break nothing"
MAX_MISSED_SHARE = 0.02
"""Of the losses that a script wrote may be missing among those noted, for text that stands in many
places; as many may be learned before they are scored (rules/update_before_score.yaml)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceCase:
    """All that an evidence check may look at."""

    evidence: Evidence | None
    """None on the paper rung."""
    claims: ClaimedValues
    significance: SignificanceRecord | str
    """Our scores against the prior record; a text says why there is no test."""
    claimed_significance: SignificanceRecord | str
    """The same test of the claimed scores."""
    claimed_gain: ClaimedGain | str
    """The same without a test."""
    track: Track
    profile: Profile

    @property
    def completed(self) -> tuple[SeedMeasurement, ...]:
        measurements = self.evidence.measurements if self.evidence else ()
        return tuple(m for m in measurements if m.outcome == "completed")

    @property
    def hides_validation(self) -> bool:
        """Whether it was proved that whoever trained could not open the validation data."""
        held = self.evidence.guarantees if self.evidence else ()
        return any(g.name == TRAINING and g.grade == "proved" for g in held)


EvidenceCheck = Callable[[EvidenceCase, Rule], CheckResult]


def each_seed(
    case: EvidenceCase,
    rule: Rule,
    on_claim: Callable[[SeedClaimed, EvidenceCase, Rule], Finding | None],
    on_measurement: Callable[[SeedMeasurement, EvidenceCase, Rule], Finding | str | None],
) -> CheckResult:
    """Ask about every seed: a finding, why it cannot be told, or None for nothing wrong.

    Without runs the logs' own figures are asked: they can break a rule against their author, and
    never pass one. With runs only measurements count; no completed seed means not evaluated, and
    one seed that cannot be told leaves the rule not evaluated unless another breaks it.
    """
    if case.evidence is None:
        claimed = [on_claim(seed, case, rule) for seed in case.claims.seeds]
        return CheckResult(
            findings=tuple(finding for finding in claimed if finding), not_evaluated=NOTHING_RUN
        )
    answers = [on_measurement(seed, case, rule) for seed in case.completed]
    findings = tuple(a for a in answers if isinstance(a, Finding))
    reasons = [a for a in answers if isinstance(a, str)]
    if not answers:
        reasons = ["no seed completed"]
    return CheckResult(findings=findings, not_evaluated=reasons[0] if reasons else None)


def floor_record(case: EvidenceCase) -> FloorRecord | CheckResult:
    """What a run on a world of known entropy showed, or why there is nothing to judge by."""
    record = case.evidence.floor if case.evidence else None
    if record is None:
        return not_offered("no run on a source of known entropy; --rung floor makes one")
    return cannot_tell(record.not_evaluated) if record.not_evaluated else record


def probe_record(case: EvidenceCase) -> ProbeRecord | CheckResult:
    """What scoring changed tapes showed, or why there is nothing to judge by."""
    record = case.evidence.probe if case.evidence else None
    if record is None:
        return not_offered("no changed tapes were scored; --rung probe does it")
    return cannot_tell(record.not_evaluated) if record.not_evaluated else record


def ledger_record(case: EvidenceCase) -> LedgerRecord | CheckResult:
    """What the instrument noted, or why there is nothing to judge by."""
    record = case.evidence.probe if case.evidence else None
    if record is None:
        return not_offered("no instrument noted its losses; --rung probe does it")
    why = record.ledger.not_evaluated if record.ledger else record.not_evaluated
    if record.is_noted_inside or record.ledger is None:
        return cannot_tell(why) if why else record.ledger or not_offered("nothing was noted")
    # Probes from outside have judged its losses already.
    return not_offered(f"its losses are written, not noted: {why}") if why else record.ledger


def fresh_record(case: EvidenceCase) -> FreshRecord | CheckResult:
    """What scoring fresh documents showed, or why there is nothing to judge by."""
    record = case.evidence.fresh if case.evidence else None
    if record is None:
        return not_offered("no fresh documents were scored; --fresh DOCUMENTS does it")
    return cannot_tell(record.not_evaluated) if record.not_evaluated else record


def nothing_seen(case: EvidenceCase) -> CheckResult:
    """What a probe without an alarm is worth: nothing where the script's own process noted it."""
    record = case.evidence.probe if case.evidence else None
    if record is not None and not record.is_noted_inside:
        return PASSED
    return cannot_tell(
        "nothing seen against it, by an instrument in its own process, which it can deceive; "
        "a pgolf.yaml whose `evaluate` writes its losses is probed from outside"
    )


def nothing_noted(case: EvidenceCase, ledger: LedgerRecord) -> CheckResult:
    """What a ledger without an alarm is worth: nothing where too much of the pass is not in it."""
    record = case.evidence.probe if case.evidence else None
    num_losses = record.num_losses if record is not None else None
    num_missed = (num_losses or 0) - ledger.num_scored
    if num_losses and num_missed > MAX_MISSED_SHARE * num_losses:
        return cannot_tell(
            f"the instrument noted {ledger.num_scored:,} of the {num_losses:,} losses that it wrote"
        )
    return nothing_seen(case)


def log_file(measurement: SeedMeasurement) -> str:
    """Where in the run directory a seed's output lies."""
    return f"seed_{measurement.seed}/stdout.log"
