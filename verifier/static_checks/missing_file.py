"""The kinds of files that the track requires, present, not empty, readable."""

import re

from verifier.claims.seed_by_seed import HEADLINE_TOLERANCE_BPB
from verifier.findings import CheckResult, Finding
from verifier.intake.submission import FileKind, SubmissionFile, kind_by_name
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_SCORE = re.compile(r"(?i)bpb[^\n]{0,40}?\d\.\d\d")
_FIGURE = re.compile(r"(?<![\d.])\d{1,3}\.\d{3,17}(?![\d.])")
ASKED_FOR = {
    FileKind.README: "README.md",
    FileKind.METADATA: "submission.json",
    FileKind.SCRIPT: "a training script (train_gpt.py)",
    FileKind.LOG: "a training log",
}


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding a kind that is missing, and one a required file that is empty or unreadable."""
    findings: list[Finding] = []
    for kind in map(FileKind, case.track.required_files):
        files = case.submission.of_kind(kind)
        if not files:
            findings.append(_missing(case, kind))
        elif kind is FileKind.SCRIPT:
            findings += _script_flaws(case, len(files))
        elif all(_flaws(case, file) for file in files):
            findings += _flaws(case, files[0])
    if case.submission.metadata is None and case.submission.of_kind(FileKind.METADATA):
        metadata = case.submission.of_kind(FileKind.METADATA)[0]
        why = "; ".join(p.message for p in case.submission.problems if p.path == metadata.path)
        message = f"cannot be read as JSON{': ' if why else ''}{why}"
        findings.append(Finding(message=message, file=str(metadata.path)))
    return CheckResult(findings=(*findings, *_without_score(case)))


def _missing(case: PaperCase, kind: FileKind) -> Finding:
    """A file of that name may be there, and not have been read."""
    for problem in case.submission.problems:
        if kind_by_name(problem.path) is kind:
            message = f"{ASKED_FOR[kind]} is missing: what is here {problem.message}"
            return Finding(message=message, file=str(problem.path))
    return Finding(message=f"{ASKED_FOR[kind]} is missing")


def _without_score(case: PaperCase) -> list[Finding]:
    """Files that are there and say nothing of what they are for: the score."""
    findings = []
    metadata, logs = case.submission.metadata, case.claims.logs
    if metadata is not None and not any((metadata.val_bpb, metadata.val_loss, metadata.per_seed)):
        texts = [file for file in case.submission.of_kind(FileKind.METADATA) if file.text]
        if not any(_SCORE.search(file.text or "") for file in texts):
            findings.append(Finding(message="states no score", file=str(texts[0].path)))
    if logs and not any(_SCORE.search(log.file.text or "") for log in logs):
        findings.append(Finding(message="carries no score", file=str(logs[0].file.path)))
    elif logs and _is_claimed_of_nothing_logged(case):
        message = "ends without a score, and the claimed one stands in no log"
        findings.append(Finding(message=message, file=str(logs[0].file.path)))
    return findings


def _is_claimed_of_nothing_logged(case: PaperCase) -> bool:
    """Whether no log ends with a score and none of the claimed figures stands anywhere in one."""
    claims = case.claims
    stated = [] if claims.headline_bpb is None else [claims.headline_bpb]
    stated += [seed.stated.val_bpb for seed in claims.seeds if seed.stated and seed.stated.val_bpb]
    if not stated or any(log.log.finals or log.log.unread for log in claims.logs):
        return False
    figures = (f for log in claims.logs for f in _FIGURE.findall(log.file.text or ""))
    return not any(abs(float(f) - bpb) <= HEADLINE_TOLERANCE_BPB for f in figures for bpb in stated)


def _script_flaws(case: PaperCase, num_files: int) -> list[Finding]:
    """Helpers alone are no script: nothing among them trains or prints a score."""
    if case.submission.script is None:
        message = (
            f"{ASKED_FOR[FileKind.SCRIPT]} is missing; {num_files} other Python files are here"
        )
        return [Finding(message=message)]
    return _flaws(case, case.submission.script)


def _flaws(case: PaperCase, file: SubmissionFile) -> list[Finding]:
    if file.num_bytes == 0:
        return [Finding(message="is empty", file=str(file.path))]
    if file.text is None:
        return [Finding(message="cannot be read as text", file=str(file.path))]
    return []
