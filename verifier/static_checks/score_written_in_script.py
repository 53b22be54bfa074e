"""The claimed score as a number in the code that runs, where no loss reaches a printed BPB."""

import ast
from collections.abc import Iterator
from statistics import mean

from verifier.claims.seed_by_seed import Claims
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.reading.program import Module
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_SCORE_NAMES = ("bpb", "bits_per_byte")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Numbers under a score's name, held against every score that is claimed."""
    if case.trace.claimed_scores():
        return PASSED
    claimed = _claimed(case.claims)
    findings = tuple(
        Finding(
            message=f"the claimed score stands here as the number {number.value!r}; no loss of "
            "validation tokens reaches a printed BPB",
            file=module.place(number)[0],
            line=module.place(number)[1],
            evidence=module.lines[number.lineno - 1].strip()[:160],
        )
        for module in case.program.modules
        for name, number in _named_numbers(module)
        if any(word in name.lower() for word in _SCORE_NAMES)
        and _is_one_of(claimed, number.value, int(rule.parameters["fewest_decimals"]))
    )
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=findings)


def _claimed(claims: Claims) -> list[float]:
    """The headline, each seed's score and their mean."""
    seeds = list(claims.claimed_bpbs)
    means = [mean(seeds)] if seeds else []
    headline = [] if claims.headline_bpb is None else [claims.headline_bpb]
    return headline + seeds + means


def _named_numbers(module: Module) -> Iterator[tuple[str, ast.Constant]]:
    """Each number that is bound to a name, a key or a parameter."""
    for assignment in module.of_kind(ast.Assign):
        for target in assignment.targets:
            yield from _named(target, assignment.value)
    for annotated in module.of_kind(ast.AnnAssign):
        yield from _named(annotated.target, annotated.value)
    for table in module.of_kind(ast.Dict):
        for key, value in zip(table.keys, table.values, strict=True):
            yield from _named(key, value)
    for keyword in module.of_kind(ast.keyword):
        yield from _named(ast.Constant(keyword.arg), keyword.value)


def _named(name: ast.expr | None, value: ast.expr | None) -> Iterator[tuple[str, ast.Constant]]:
    if not isinstance(value, ast.Constant) or not isinstance(value.value, float):
        return
    if isinstance(name, ast.Subscript):
        name = name.slice
    if isinstance(name, ast.Name):
        yield name.id, value
    elif isinstance(name, ast.Attribute):
        yield name.attr, value
    elif isinstance(name, ast.Constant) and isinstance(name.value, str):
        yield name.value, value


def _is_one_of(claimed: list[float], number: object, fewest_decimals: int) -> bool:
    """Whether a claimed score is this number when rounded to its digits."""
    if not isinstance(number, float):
        return False
    decimals = len(repr(number).partition(".")[2])
    return decimals >= fewest_decimals and any(round(one, decimals) == number for one in claimed)
