"""Other programs that the run starts and that no README or requirements file mentions."""

import re

from verifier.findings import CheckResult, cannot_tell
from verifier.intake.submission import FileKind, Submission
from verifier.reading.called_names import command_words, named_calls, starts_process
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

# They look at the machine, or build and pack what the folder holds.
_HARMLESS = {"nvidia-smi", "rocm-smi", "lscpu", "free", "df", "uname", "hostname", "which", "where"}
_HARMLESS |= {"nproc", "git", "ps", "cat", "ls", "gcc", "g++", "cc", "c++", "clang", "clang++"}
_HARMLESS |= {"nvcc", "make", "ninja", "cl", "pyminify", "python", "python3", "taskset", "numactl"}
_HARMLESS |= {"sysctl", "system_profiler", "nvidia-settings"}


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A command that is computed at run time is not named, so nothing is said of it."""
    words_used = _words_used(case.submission)
    findings = []
    for module in case.program.modules:
        for call in filter(starts_process, named_calls(module)):
            words = command_words(call)
            if words and words[0] not in _HARMLESS and not _words(words[0]) <= words_used:
                findings.append(
                    call.finding(f"the run starts {words[0]!r}, which nothing declares")
                )
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=tuple(findings))


def _words_used(submission: Submission) -> set[str]:
    kinds = (FileKind.README, FileKind.REQUIREMENTS, FileKind.METADATA)
    texts = [file.text or "" for file in submission.files if file.kind in kinds]
    return set().union(*map(_words, texts))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
