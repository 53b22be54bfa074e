"""Weights that learn validation tokens before these are scored."""

from verifier.data_flow.orders import Sequence, is_fitted_to_context_only, learned_before_scored
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, cannot_tell_what_is_learned, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding an update; one on the scored part's context alone may be of scored tokens."""
    sequences = _by_what_is_learned(list(learned_before_scored(case.trace)))
    findings = [
        Finding(
            message="weights are updated on validation tokens before these are scored "
            f"({sequence.score.place.file}:{sequence.score.place.line})",
            file=sequence.update.place.file,
            line=sequence.update.place.line,
            evidence=sequence.update.place.code,
        )
        for sequence in sequences
        if not is_fitted_to_context_only(case.trace, sequence.update)
    ]
    if sequences and not findings:
        place = sequences[0].update.place
        return cannot_tell(f"{place.file}:{place.line} learns the context of what is then scored")
    untold = None if findings else cannot_tell_what_is_learned(case.trace)
    return untold or flow_result(case.trace, findings)


def _by_what_is_learned(sequences: list[Sequence]) -> list[Sequence]:
    """The first step on a loss: a further one, such as its rate's schedule takes, adds nothing."""
    first: dict[tuple[frozenset[str], frozenset[str]], Sequence] = {}
    for sequence in sequences:
        first.setdefault((sequence.update.marks, sequence.update.objects), sequence)
    return list(first.values())
