"""How much of the validation text the claiming logs scored; what script and author say of it."""

import re

from verifier.claims.prose import statements
from verifier.claims.seed_by_seed import LogClaim
from verifier.data_flow.limits import EvaluationLimit, evaluation_limits
from verifier.data_flow.trace import Report
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase
from verifier.static_checks.wrong_byte_denominator import scored_text

_COUNT = r"~?\d[\d.,]{0,12} ?[MkK]?\b[ -]?(?:tokens?|docs?|documents?)?[ -]?"
_VALIDATION = r"(?:val(?:idation)?\b|headline|eval(?:uation)?\b)"
_SUBSET = re.compile(
    rf"(?i)\b(?:headline|val_bpb|score|bpb)\b.{{0,120}}\b(?:on|over) (?:the |an? )?(?:first )?"
    rf"{_COUNT}[ -]?(?:val(?:idation)?[ -])?(?:subset|tokens)\b"
    rf"|\b{_VALIDATION} (?:is |was |set )?(?:subsampled|truncated|restricted|capped) to {_COUNT}"
    rf"|\b(?:on|over) (?:the |an? )?{_COUNT}(?:sub(?:set|sample)|slice) of (?:the )?{_VALIDATION}"
    rf"|\b(?:on|over) (?:the |an? )?(?:fixed|first) `?{_COUNT}`?[ -]?(?:tokens?[ -])?"
    r"val(?:idation)? (?:sub(?:set|sample)|prefix|slice)\b"
)
_WHOLE = re.compile(r"(?i)\bfull\b|\ball\b|\bwhole\b|\bentire\b|\b6\d[.,]?\d*M?\b|\b50[,.]?000\b")
_WORKING_SET = re.compile(r"(?i)debug|iteration|ablation|warm|calibrat|ttt|score-first|smoke")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Figures of the logs that carry the claim, limits that its script keeps to, statements."""
    logs = case.claims.claiming_logs or _counting_logs(case)
    whole = [family.scored_tokens for family in case.track.dataset.families]
    answers = [_coverage(claim, whole, rule) for claim in logs]
    answers += [_kept_to(limit, case, rule) for limit in _limits_of_the_claim(case)]
    findings = [answer for answer in answers if isinstance(answer, Finding)]
    reasons = [answer for answer in answers if isinstance(answer, str)]
    findings += [
        statement.finding("the author says that the score is over a part of the validation set")
        for statement in statements(case.submission, _SUBSET)
        if not _WHOLE.search(statement.text) and not _WORKING_SET.search(statement.text)
    ]
    if not logs:
        reasons.append("no log carries a final score that could be read")
    return CheckResult(findings=tuple(findings), not_evaluated=reasons[0] if reasons else None)


def _counting_logs(case: PaperCase) -> tuple[LogClaim, ...]:
    """Logs that end without a score and say how many tokens they validate on."""
    return tuple(log for log in case.claims.logs if log.log.val_tokens is not None)


def _limits_of_the_claim(case: PaperCase) -> list[EvaluationLimit]:
    """The limits that the claimed score depends on, where the script was followed to its line."""
    if not any(report.is_claim for report in case.trace.of_kind(Report)):
        return []
    return evaluation_limits(case.trace.claimed_marks())


def _kept_to(limit: EvaluationLimit, case: PaperCase, rule: Rule) -> Finding | str | None:
    """A finding if the limit surely cuts the set, whatever a sequence holds; None if surely not."""
    known = rule.parameters
    logged = [log.log.val_tokens or 0 for log in case.claims.claiming_logs]
    whole = {
        "bytes": known["full_text_bytes"],
        "docs": known["documents_of_the_whole"],
        "documents": known["documents_of_the_whole"],
    }.get(limit.unit, max(known["fewest_tokens_of_the_whole"], *logged))
    is_exact = limit.unit in ("tokens", "bytes", "docs", "documents")
    fewest = limit.value * (1 if is_exact else known["shortest_stride_tokens"])
    most = limit.value * (1 if is_exact else known["longest_sequence_tokens"])
    if fewest >= whole * (1 - known["tail_relative"]):
        return None
    told = f"the claimed score ends after {limit.value:,} {limit.unit}, by {limit.name}"
    each_of = max(1, case.track.hardware.num_gpus)  # processes may have such a share each
    if most * each_of < whole * known["partial_below"]:
        return Finding(message=told)
    return f"{told}: what part of the set that is cannot be told"


def _coverage(claim: LogClaim, whole: list[int], rule: Rule) -> Finding | str | None:
    """A finding, why it cannot be told, or None for the whole text."""
    known, tokens = rule.parameters, claim.log.val_tokens
    if tokens is None:
        return f"{claim.file.path}: the log does not say how many tokens it scores"
    implied = scored_text(claim)
    too_few = tokens < known["fewest_tokens_of_the_whole"]
    if implied is None and not too_few:
        return f"{claim.file.path}: loss and BPB are not both printed"
    share = implied.high / known["full_text_bytes"] if implied else None
    is_whole = any(abs(tokens / count - 1) <= known["tail_relative"] for count in whole)
    if too_few or (share is not None and share < known["partial_below"] and not is_whole):
        return Finding(
            message=f"{tokens:,} tokens are scored"
            + (f", {share:.1%} of the validation text's bytes" if share is not None else ""),
            file=str(claim.file.path),
            line=claim.log.lines.get("val_tokens"),
            evidence=f"whole: {known['full_text_bytes']:,.0f} bytes",
        )
    if share is not None and share < known["doubtful_below"]:
        return f"{claim.file.path}: the figures imply {share:.1%} of the validation text"
    return None
