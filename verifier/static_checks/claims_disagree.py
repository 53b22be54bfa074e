"""The scores in submission.json against the README's title and tables and the folder's name."""

import re

from verifier.claims.prose import Statement, prose_lines
from verifier.claims.seed_by_seed import SeedClaims
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_SCORE = re.compile(r"(?<![\d.])([0-2]\.\d{3,8})(?![\d.]|\s?%)")
_NO_SCORE = re.compile(
    r"(?i)(?:[-−–+±~<>=≥≤≈]\s?|"
    r"(?:ema|swa|wd|decay|beta\d?|momentum|lr|gain|dropout|muon)[ (:=]{0,2})$"
)
_FIRST_CELL = re.compile(
    r"(?i)\|[\s*`]*(?:(?:seed )?(?P<seed>\d{1,10})|(?:\d{1,2}[- ]seed )?(?:mean|average|avg\.?))"
    r"(?: \([^|]{0,40}\))?[\s*`]*\|"
)
_ROUNDING = 6e-4  # a table's three decimals, rounded or cut
_BOLD = re.compile(r"\*\*[^*]{1,200}\*\*")
_NO_HEADLINE = re.compile(r"(?i)loss ?[:=] ?[\d.]{1,12}|running (?:val_)?bpb ?[:=] ?[\d.]{1,12}")
_BPB_EQUALS = re.compile(r"(?i)bpb ?=")  # what follows other equals signs is a setting
_NUMBER = re.compile(r"(?<![\d.])[0-2]\.(\d{2,8})(?![\d.])")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A place that states one score, and another one; places with several scores say nothing."""
    stated = case.claims.headline_bpb
    if stated is None:
        return cannot_tell("submission.json states no score that could be read")
    known = {stated, *case.claims.seed_bpbs.values()}
    findings = []
    for place, line, text in _places(case):
        scores = _scores(text, rule)
        if len(scores) == 1 and not _is_known(scores[0], known, rule.parameters["tolerance_bpb"]):
            findings.append(
                Finding(
                    message=f"says {scores[0]:g} where submission.json says {stated:.5f}",
                    file=place,
                    line=line,
                    evidence=text[:160],
                )
            )
    findings += _table_findings(case, rule)
    return CheckResult(findings=tuple(findings or _untold_findings(case, rule, stated)))


def _untold_findings(case: PaperCase, rule: Rule, stated: float) -> list[Finding]:
    """A README that sets another BPB in bold and gives no score of submission.json anywhere."""
    lines = [line for line in prose_lines(case.submission) if line.file.lower().endswith(".md")]
    per_seed = case.claims.metadata.per_seed if case.claims.metadata else ()
    claimed = [stated, *(seed.val_bpb for seed in per_seed if seed.val_bpb is not None)]
    told = [number for line in lines for number in _NUMBER.finditer(line.text)]
    if any(_is_rounded(number, value) for number in told for value in claimed):
        return []
    if not rule.parameters["lowest_bpb"] < stated < rule.parameters["highest_bpb"]:
        return []
    for line in lines:
        bold = _BOLD.findall(line.text) if "bpb" in line.text.lower() else []
        plain = [_BPB_EQUALS.sub("bpb:", _NO_HEADLINE.sub("", text)) for text in bold]
        scores = [score for text in plain for score in _scores(text, rule)]
        if scores:
            message = f"says {scores[0]:g}, and nowhere {stated:.5f}, as submission.json does"
            return [line.finding(message)]
    return []


def _is_rounded(number: re.Match[str], value: float) -> bool:
    """Whether a number is a value, rounded or cut, as far as the coarser of the two goes."""
    decimals = min(len(number[1]), max(3, len(f"{value:.8f}".rstrip("0")) - 2))
    return abs(float(number[0]) - value) <= 1.01 * 10.0**-decimals


def _table_findings(case: PaperCase, rule: Rule) -> list[Finding]:
    """A seed, or the mean, whose rows in all tables of the README never hold the claimed score.

    A method's table shows several stages a row, older tables show older runs, and a score that the
    text states elsewhere needs no row. A score out of bounds is not told from other figures.
    """
    claimed = {f"seed {seed}": value for seed, value in case.claims.seed_bpbs.items()}
    also = {f"seed {s.seed}": _logged_only(s) for s in case.claims.seeds}
    alone = [case.claims.headline_bpb] if len(claimed) == 1 and case.claims.headline_bpb else []
    if case.claims.headline_bpb is not None:
        claimed["the mean"] = case.claims.headline_bpb
    lowest, highest = rule.parameters["lowest_bpb"], rule.parameters["highest_bpb"]
    stated = {name: value for name, value in claimed.items() if lowest < value < highest}
    rows: dict[str, list[Statement]] = {}
    told: set[float] = set()
    for line in prose_lines(case.submission):
        cell = _FIRST_CELL.match(line.text)
        scores = _scores(line.text, rule)
        told.update(scores if line.file.lower().endswith(".md") else ())
        name = cell and (f"seed {cell['seed']}" if cell["seed"] else "the mean")
        if name in stated and scores:
            rows.setdefault(name, []).append(line)
    findings = []
    for name, lines in rows.items():
        value = stated[name]
        logged = also.get(name, [])
        if not any(_is_known(one, told, _ROUNDING) for one in (value, *logged, *alone)):
            said = "its log says" if logged else "submission.json says"
            message = f"the table gives {name} no score of {value:.5f}, as {said}"
            findings.append(lines[0].finding(message))
    return findings


def _logged_only(seed: SeedClaims) -> list[float]:
    """Every final score of a seed of which submission.json says nothing: any may be the claim."""
    if seed.log is None or (seed.stated is not None and seed.stated.val_bpb is not None):
        return []
    return [final.val_bpb for final in seed.log.log.finals if final.val_bpb is not None]


def _places(case: PaperCase) -> list[tuple[str | None, int | None, str]]:
    """The folder's name and the README's title, each with where it stands."""
    places: list[tuple[str | None, int | None, str]] = [(None, None, case.submission.name)]
    for line in prose_lines(case.submission):
        if line.text.startswith("# ") and line.file.lower().endswith(".md"):
            return [*places, (line.file, line.line, line.text)]
    return places


def _scores(text: str, rule: Rule) -> list[float]:
    plain = text[:400].replace("_", " ")
    found = [
        float(match[1])
        for match in _SCORE.finditer(plain)
        if not _NO_SCORE.search(plain[: match.start()])
    ]
    return [v for v in found if rule.parameters["lowest_bpb"] < v < rule.parameters["highest_bpb"]]


def _is_known(score: float, known: set[float], tolerance: float) -> bool:
    return any(abs(score - value) <= tolerance for value in known)
