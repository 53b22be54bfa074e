"""The protocol of a static check: (PaperCase, Rule) → CheckResult. Static means nothing is run."""

from collections.abc import Callable
from dataclasses import dataclass

from verifier.claims import Claims
from verifier.findings import CheckResult
from verifier.program import Program
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.track_yaml import Track
from verifier.submission import Submission


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperCase:
    """All that a static check may look at."""

    submission: Submission
    claims: Claims
    program: Program
    track: Track


StaticCheck = Callable[[PaperCase, Rule], CheckResult]
