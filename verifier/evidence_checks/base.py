"""The protocol of an evidence check: (EvidenceCase, Rule) → CheckResult."""

from collections.abc import Callable
from dataclasses import dataclass

from verifier.findings import CheckResult, Finding
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import Evidence, SeedMeasurement
from verifier.schemas.track_yaml import Track
from verifier.schemas.verdict_json import SignificanceRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceCase:
    """All that an evidence check may look at."""

    evidence: Evidence
    significance: SignificanceRecord | None
    no_significance: str | None
    """Why there is no test against the prior record."""
    track: Track
    profile: Profile

    @property
    def completed(self) -> tuple[SeedMeasurement, ...]:
        return tuple(m for m in self.evidence.measurements if m.outcome == "completed")


EvidenceCheck = Callable[[EvidenceCase, Rule], CheckResult]


def each_completed_seed(
    case: EvidenceCase, judge: Callable[[SeedMeasurement], Finding | str | None]
) -> CheckResult:
    """Ask `judge` about every completed seed: a finding, why it cannot tell, or nothing wrong.

    No completed seed means not evaluated; one seed that cannot be told leaves the rule not
    evaluated unless another seed breaks it.
    """
    answers = [judge(measurement) for measurement in case.completed]
    findings = tuple(a for a in answers if isinstance(a, Finding))
    reasons = [a for a in answers if isinstance(a, str)]
    if not answers:
        reasons = ["no seed completed"]
    return CheckResult(findings=findings, not_evaluated=reasons[0] if reasons else None)


def log_file(measurement: SeedMeasurement) -> str:
    """Where in the run directory a seed's output lies."""
    return f"seed_{measurement.seed}/stdout.log"
