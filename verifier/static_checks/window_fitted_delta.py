"""A tensor fitted to a window's tokens, with which the same window is scored."""

from verifier.data_flow.orders import fitted_to_window, is_fitted_to_context_only
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A fit that ends where the scored part begins is left open: reviewers did not settle it."""
    fits = list(fitted_to_window(case.trace))
    findings = [
        Finding(
            message="a tensor is fitted to validation tokens of the window that is then scored "
            f"with it ({fit.score.place.file}:{fit.score.place.line})",
            file=fit.update.place.file,
            line=fit.update.place.line,
            evidence=fit.update.place.code,
        )
        for fit in fits
        if not is_fitted_to_context_only(case.trace, fit.update)
    ]
    if fits and not findings:
        place = fits[0].update.place
        return cannot_tell(f"{place.file}:{place.line} fits a tensor to the window's context only")
    return flow_result(case.trace, findings)
