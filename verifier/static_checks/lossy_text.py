"""Text whose capitals are lost before it is scored, by the data's name or the author's words."""

import re
from collections.abc import Iterator

from verifier.claims.prose import statements
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_FOLDED_DATA = re.compile(r"(?i)(?:case[_-]?fold|lower[_-]?case)(?:ed|d)?(?![a-z])")
_FOLDS = re.compile(
    r"(?i)\b(?:text|input|documents?|corpus|fineweb)\b[^.;]{0,60}"
    r"\b(?:(?:is|are|was|were) )?(?:lower-?cased|case-?folded)\b(?! (?:with|plus|and) marker)"
    r"|\.(?:casefold|lower)\(\)[^.;]{0,60}(?:text|tokeniz)"
    r"|\b(?:lower-?cas|case-?fold)ing (?:of (?:all|the) text|before tokeniz)"
)
_REVERSIBLE = re.compile(
    r"(?i)lossless|revers|bijecti|invert|caseops|case ops|side-?car|issue|PR #"
)


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The logs' settings first; a reversible transform that codes the capitals is none."""
    found = next(_named_data(case), None)
    if found is None:
        said = [s for s in statements(case.submission, _FOLDS) if not _REVERSIBLE.search(s.text)]
        message = "the author says that the text's capitals are folded before it is scored"
        found = said[0].finding(message) if said else None
    return CheckResult(findings=(found,) if found else ())


def _named_data(case: PaperCase) -> Iterator[Finding]:
    for claim in case.claims.logs:
        for name, value in claim.log.hyperparameters.items():
            if "/" in value and _FOLDED_DATA.search(value):
                yield Finding(
                    message="the run's data are named for a text whose capitals are folded",
                    file=str(claim.file.path),
                    line=claim.log.lines.get(name),
                    evidence=f"{name}: {value[:160]}",
                )
