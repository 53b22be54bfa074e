"""A table of bytes per token that is read from a file, while nothing in the folder builds it."""

import ast

from verifier.findings import CheckResult, cannot_tell
from verifier.reading.called_names import finding_at, literal_text
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_TABLES = ("base_bytes", "token_bytes", "byte_lengths", "bytes_per_token")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A builder is a script of the folder that writes an array of one of these names."""
    read = [
        (module, node)
        for module in case.program.modules
        for node in module.of_kind(ast.Subscript)
        if _reads_table(node)
    ]
    if read and any(_writes_table(file.text or "") for file in case.submission.scripts):
        return cannot_tell("the byte table is written by a script of the folder that was not run")
    if not read and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    message = "the bytes of each token come from a file, and nothing in the folder counts them"
    return CheckResult(findings=tuple(finding_at(m, n, message) for m, n in read[:1]))


def _reads_table(node: ast.Subscript) -> bool:
    """`data["base_bytes"]` of a loaded archive."""
    return isinstance(node.ctx, ast.Load) and literal_text(node.slice) in _TABLES


def _writes_table(text: str) -> bool:
    return "savez" in text and any(f"{name}=" in text.replace(" ", "") for name in _TABLES)
