"""Bytes per token counted twice, as text markers, as constants, or over transformed text.

BPB divides by the bytes of the original text. The usual table holds, for each token, the UTF-8
bytes of its piece without the leading `▁`; the scoring adds one byte for that space unless the
previous token is a boundary. A table that counts the space as well counts it twice.
"""

import ast
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.reading.called_names import finding_at, literal_text
from verifier.reading.program import Module
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_MARKER = "\u2581"
_TRANSFORMED = "caseops"  # the track's family whose tokens are of text with transformed capitals
_DATA_SETTINGS = ("datasets_dir", "data_path", "val_files", "train_files")
_ESTIMATES = ("est", "approx", "rough")  # printed beside the score
_STRIPPERS = {"lstrip", "removeprefix", "replace", "strip"}
_FALLBACK_CALLS = {"is_byte", "IsByte", "id_to_byte", "IdToByte"}


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Looks at tables that are built in the folder, and at how the scoring reads them."""
    modules = case.program.modules
    scoring_adds_space = any(
        _adds_space(node)
        for module in modules
        for node in (*module.of_kind(ast.BinOp), *module.of_kind(ast.Call))
    )
    findings = [f for module in modules for f in _findings(module, scoring_adds_space)]
    findings += _transformed_text(case)
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=tuple(findings))


def _findings(module: Module, scoring_adds_space: bool) -> Iterator[Finding]:
    marked = [branch for branch in module.of_kind(ast.If) if _tests_marker(branch.test)]
    marked.sort(key=lambda branch: branch.lineno)
    for loop in module.of_kind(ast.For):
        first = bisect_right(marked, loop.lineno, key=lambda branch: branch.lineno)
        branch = marked[first] if first < len(marked) else None
        if branch is not None and branch.lineno <= (loop.end_lineno or 0):
            yield from _table_findings(module, loop, branch, scoring_adds_space)
    numbers = _numbers_bound_once(module)
    ratios: list[ast.expr] = [
        node for node in module.of_kind(ast.BinOp) if _is_constant_ratio(node, numbers)
    ]
    ratios += [node.value for node in module.of_kind(ast.Assign) if _is_over_tokens(node, numbers)]
    for ratio in ratios:
        message = "nats become bits per byte by a constant number of bytes"
        yield finding_at(module, ratio, message)


def _table_findings(
    module: Module, loop: ast.For, branch: ast.If, scoring_adds_space: bool
) -> Iterator[Finding]:
    """One loop over the vocabulary that fills a table of byte lengths."""
    lengths = [n for n in ast.walk(loop) if isinstance(n, ast.Assign) and _is_length_of_text(n)]
    if not lengths or any(isinstance(n, ast.For) for n in _inner(loop)):
        return
    counted = [n for n in _walk(branch.body) if _counts_space(n)]
    if scoring_adds_space and counted and _sets_flag(branch.body):
        message = "the leading space is counted here, and once more where tokens are scored"
        yield finding_at(module, counted[0], message)
    elif _sets_flag(branch.body) and not _strips_marker(loop):
        yield finding_at(module, lengths[-1], f"{_MARKER!r} itself is counted, as three bytes")
    if not _knows_byte_tokens(loop):
        message = "byte-fallback tokens such as <0x41> are counted by the letters of their names"
        yield finding_at(module, lengths[-1], message)


def _inner(loop: ast.For) -> Iterable[ast.AST]:
    return (node for node in ast.walk(loop) if node is not loop)


def _walk(statements: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    for statement in statements:
        yield from ast.walk(statement)


def _tests_marker(test: ast.expr) -> bool:
    """`piece.startswith("▁")`, or a comparison of its first letter with it."""
    return any((literal_text(node) or "").startswith(_MARKER) for node in ast.walk(test))


def _is_length_of_text(assign: ast.Assign) -> bool:
    """`table[i] = len(piece.encode(…))` in any of its forms."""
    if not isinstance(assign.targets[0], ast.Subscript):
        return False
    names = [_called(node) for node in ast.walk(assign.value)]
    return "len" in names and "encode" in names


def _called(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def _counts_space(node: ast.AST) -> bool:
    """`table[i] = len(…) + 1`, `table[i] += 1`, or the marker replaced by a space and encoded."""
    if isinstance(node, ast.AugAssign):
        is_table = isinstance(node.target, ast.Subscript)
        return is_table and isinstance(node.op, ast.Add) and _is_one(node.value)
    if not isinstance(node, ast.Assign) or not _is_length_of_text(node):
        return False
    sums = [n for n in ast.walk(node.value) if isinstance(n, ast.BinOp)]
    if any(isinstance(n.op, ast.Add) and (_is_one(n.left) or _is_one(n.right)) for n in sums):
        return True
    replaced = [n for n in ast.walk(node.value) if _called(n) == "replace"]
    arguments = [a for n in replaced if isinstance(n, ast.Call) for a in n.args[1:]]
    return any(literal_text(argument) == " " for argument in arguments)


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in (1, 1.0) and node.value is not True


def _sets_flag(statements: Iterable[ast.stmt]) -> bool:
    """`has_leading_space[i] = True`: the scoring will learn of the space."""
    assigns = [n for n in _walk(statements) if isinstance(n, ast.Assign)]
    return any(
        isinstance(n.targets[0], ast.Subscript)
        and isinstance(n.value, ast.Constant)
        and n.value.value in (True, 1)
        for n in assigns
    )


def _strips_marker(loop: ast.For) -> bool:
    """`piece[1:]`, or a method that takes the marker away."""
    for node in ast.walk(loop):
        if isinstance(node, ast.Slice) and isinstance(node.lower, (ast.Constant, ast.Call)):
            return True
        if _called(node) in _STRIPPERS:
            return True
    return False


def _knows_byte_tokens(loop: ast.For) -> bool:
    return any(
        _called(node) in _FALLBACK_CALLS
        or "<0x" in (literal_text(node) or "")
        or (isinstance(node, ast.Attribute) and "byte" in node.attr.lower())
        or (isinstance(node, ast.Name) and "is_byte" in node.id)
        for node in ast.walk(loop)
    )


def _adds_space(node: ast.AST) -> bool:
    """`has_space[target] & ~is_boundary[previous]`, as the baseline's scoring has it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        sides = (node.left, node.right)
        return any(isinstance(s, ast.UnaryOp) and isinstance(s.op, ast.Invert) for s in sides)
    return _called(node) == "logical_and" and any(
        _called(n) == "logical_not" for n in ast.walk(node)
    )


def _is_constant_ratio(node: ast.BinOp, numbers: Mapping[str, float]) -> bool:
    """`loss / math.log(2) * 0.27`, or the same with a name that is bound to such a number once."""
    if not isinstance(node.op, (ast.Mult, ast.Div)):
        return False
    for bits, factor in ((node.left, node.right), (node.right, node.left)):
        if _is_nats_to_bits(bits):
            value = _number(factor, numbers)
            return value is not None and _is_bytes_per_token(value)
    return False


def _is_over_tokens(assign: ast.Assign, numbers: Mapping[str, float]) -> bool:
    """`bpb = bits / (num_tokens * 4.3)`."""
    target, value = assign.targets[0], assign.value
    name = getattr(target, "id", getattr(target, "attr", "")).lower()
    if "bpb" not in name or name.startswith(_ESTIMATES):
        return False
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Div):
        return False
    product = value.right
    if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
        return False
    factors = (_number(product.left, numbers), _number(product.right, numbers))
    return any(factor is not None and _is_bytes_per_token(factor) for factor in factors)


def _is_nats_to_bits(node: ast.expr) -> bool:
    """A value divided by ln 2."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
        return False
    divisor = node.right
    is_log = isinstance(divisor, ast.Call) and _called(divisor) == "log" and len(divisor.args) == 1
    if is_log and isinstance(divisor, ast.Call) and isinstance(divisor.args[0], ast.Constant):
        return divisor.args[0].value in (2, 2.0)
    return isinstance(divisor, ast.Name) and divisor.id.lower() in ("ln2", "log2", "ln_2", "log_2")


def _is_bytes_per_token(value: float) -> bool:
    """Between the bytes a token of the smallest and of the largest vocabularies, or its inverse."""
    return value != int(value) and (1.2 < value < 8.0 or 0.125 < value < 0.8)


def _number(node: ast.expr, numbers: Mapping[str, float]) -> float | None:
    """The number that an expression is, if it depends on nothing else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        above, below = _number(node.left, numbers), _number(node.right, numbers)
        return above / below if above is not None and below else None
    return numbers.get(node.id) if isinstance(node, ast.Name) else None


def _numbers_bound_once(module: Module) -> dict[str, float]:
    """The names that a module binds to a number in one place, and nowhere again."""
    names = module.of_kind(ast.Name)
    times_bound = Counter(name.id for name in names if isinstance(name.ctx, ast.Store))
    numbers: dict[str, float] = {}
    for statement in module.of_kind(ast.Assign):
        if not isinstance(statement.value, ast.Constant):
            continue
        target, number = statement.targets[0], _number(statement.value, {})
        if isinstance(target, ast.Name) and times_bound[target.id] == 1 and number is not None:
            numbers[target.id] = number
    return numbers


def _transformed_text(case: PaperCase) -> list[Finding]:
    """Scored tokens of text with transformed capitals, and no count of the original's bytes."""
    counts = {f.scored_tokens for f in case.track.dataset.families if f.tokenizer == _TRANSFORMED}
    for claim in case.claims.logs:
        settings = claim.log.hyperparameters
        is_off = settings.get(f"{_TRANSFORMED}_enabled", "").lower() in ("false", "0")
        names_it = any(_TRANSFORMED in settings.get(name, "").lower() for name in _DATA_SETTINGS)
        is_unknown = case.program.blind_spot is None and not _reads_sidecar(case.program.modules)
        if (is_off or is_unknown) and (names_it or claim.log.val_tokens in counts):
            return [
                Finding(
                    message="the scored text was transformed before it was split into tokens, and "
                    "the original's bytes are not read",
                    file=str(claim.file.path),
                    line=claim.log.lines.get("val_tokens"),
                    evidence=f"val_tokens {claim.log.val_tokens}",
                )
            ]
    return []


def _reads_sidecar(modules: Iterable[Module]) -> bool:
    """Whether the code names a file of original bytes beside the validation tokens."""
    return any("val_bytes" in module.text or "_bytes_" in module.text for module in modules)
