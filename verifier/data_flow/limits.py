"""Settings that keep evaluation to a part of the text, as scripts name them: `val_max_tokens`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from verifier.data_flow.values import LIMIT

_EVALUATING = {"val", "validation", "eval", "evaluation", "sliding"}
_LIMITING = {"max", "limit", "cap", "subset", "first"}
_UNITS = {"tokens", "bytes", "docs", "documents", "seqs", "sequences", "windows", "batches"}
_OF_SOMETHING_ELSE = {"ttt", "train", "calib", "warmup", "ngram", "ppm", "cache"}
_MARK = re.compile(rf"{LIMIT}(\w+)=(\d{{1,15}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationLimit:
    """A setting above zero by which evaluation ends early."""

    name: str
    value: int
    unit: str  # as its name ends: tokens, documents, sequences …


def limit_mark(name: str, constant: object) -> set[str]:
    """The mark of a setting that limits evaluation; none for another, or for one that is off."""
    words = name.lower().split("_")
    is_limit = _EVALUATING.intersection(words) and _LIMITING.intersection(words)
    if not is_limit or words[-1] not in _UNITS or _OF_SOMETHING_ELSE.intersection(words):
        return set()
    if not isinstance(constant, int) or isinstance(constant, bool) or constant <= 0:
        return set()
    return {f"{LIMIT}{name}={constant}"}


def evaluation_limits(marks: Iterable[str]) -> list[EvaluationLimit]:
    """The limits that stand among marks, by name."""
    found = (_MARK.fullmatch(mark) for mark in sorted(marks))
    return [
        EvaluationLimit(name=mark[1], value=int(mark[2]), unit=mark[1].lower().rpartition("_")[2])
        for mark in found
        if mark is not None
    ]
