"""What the author says of the submission's own standing, on a track that claims records."""

import re

from verifier.claims.prose import Statement, prose_lines
from verifier.findings import PASSED, CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_DISCLAIMS = re.compile(
    r"(?i)(?<!prior )(?<!earlier )(?<!previous )"
    r"\bnon[-_ ]record[-_ ](?:submission|track|entry|attempt|experiment|result|exploration)"
    r"|\b(?:not|isn't) (?:a |claim(?:ing|ed as) (?:a )?|intended as a )?(?:new )?(?:sota|record)\b"
    r"|\b(?:does|do|did)(?: not|n't) (?:beat|improve (?:on|over)|surpass) "
    r"(?:the )?(?:current |merged )*(?:sota|record|leaderboard)\b"
    r"|\bnot (?:statistically )?significant\b"
    r"|\"(?:is_)?record(?:_claim)?\": *false"
    # A title: `# [Non-Record] …`, `"name": "Non-record: …"`.
    r"|^(?:#{1,6}|\"(?:name|title|submission_name)\":)[ \t\"*\[(]{1,6}non[-_ ]record(?![a-z])"
)


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding: the first place that says so."""
    if not case.track.claims_record:
        return PASSED
    last = int(rule.parameters["first_lines"])
    for line in prose_lines(case.submission):
        if (line.line <= last or line.file.endswith(".json")) and _DISCLAIMS.search(line.text):
            return CheckResult(findings=(_finding(line),))
    return PASSED


def _finding(line: Statement) -> Finding:
    return line.finding("the submission is handed in for a record, and says that it claims none")
