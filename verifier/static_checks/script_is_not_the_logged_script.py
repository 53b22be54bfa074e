"""Bytes of the shipped script against the bytes that the logs count."""

from verifier.claims import LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The main script alone or with what it imports: scripts count themselves in both ways."""
    script = case.submission.script
    logged = [(claim, bytes_) for claim in case.claims.claiming_logs if (bytes_ := _code(claim))]
    if script is None or not logged:
        return cannot_tell("there is no script, or no log counts the code's bytes")
    reached = {module.file.path: module.file.num_bytes for module in case.program.modules}
    needed = sum(reached.values())
    return CheckResult(
        findings=tuple(
            Finding(
                message=f"the log counts {num_bytes:,} bytes of code, {script.path} holds "
                f"{script.num_bytes:,} and with what it imports {needed:,}",
                file=str(claim.file.path),
                line=claim.log.lines.get("code_bytes_uncompressed", claim.log.lines["code_bytes"]),
            )
            for claim, num_bytes in logged
            if num_bytes not in (script.num_bytes, needed)
        )
    )


def _code(claim: LogClaim) -> int | None:
    if claim.log.code_bytes is None:
        return None
    return claim.log.code_bytes_uncompressed or claim.log.code_bytes
