"""Logits that a function writes to under the realised token's index before it scores that token.

Modules are not followed statement by statement; this looks into one function, in the order of its
text: what is written under an index made of the targets, what is made of that, and whether a loss
over the same targets takes it for its logits. A label made so goes where targets go, not there.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from verifier.data_flow.trace import Trace
from verifier.reading.program import Module, Program

_LOSSES = {"cross_entropy", "nll_loss"}
_PICKING = {"gather", "take_along_dim"}
_IN_PLACE = {"scatter_", "scatter_add_", "index_put_", "index_add_", "index_fill_"}
_ANEW = {"scatter", "scatter_add", "index_put", "index_add", "index_fill"}


@dataclass(slots=True)
class _Reader:
    """One function: names that are its targets, and names that were written to under them."""

    targets: set[str] = field(default_factory=set)
    probabilities: set[str] = field(default_factory=set)
    written: dict[str, ast.stmt] = field(default_factory=dict)
    found: list[ast.stmt] = field(default_factory=list)  # the writes whose outcome was scored

    def read(self, statement: ast.stmt) -> None:
        """Take one simple statement: what it scores, then what it writes."""
        for call in _calls(statement):
            for logits, target in _scored_by(call, self.probabilities):
                if _tokens(target) in self.targets:
                    self._is_scored(logits)
            if _last_name(call.func) in _IN_PLACE and self._is_addressed(call):
                self._write(_base(call.func), statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            self._assign(statement)

    def _is_scored(self, logits: ast.expr) -> None:
        self.found += [self.written[name] for name in _names(logits) & self.written.keys()]

    def _is_addressed(self, call: ast.Call) -> bool:
        arguments = [*call.args, *(word.value for word in call.keywords if word.arg == "index")]
        return any(_tokens(argument) in self.targets for argument in arguments[:2])

    def _write(self, name: str | None, statement: ast.stmt) -> None:
        if name is not None and name not in self.targets:
            self.written[name] = statement

    def _assign(self, statement: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        value = statement.value
        if value is None:
            return
        places = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        cause = next((self.written[n] for n in sorted(_names(value) & self.written.keys())), None)
        if any(_last_name(c.func) in _ANEW and self._is_addressed(c) for c in _calls(value)):
            cause = statement
        for place in places:
            if isinstance(place, ast.Subscript):
                under = {_tokens(part) for part in _parts(place.slice)}
                if under & self.targets or cause is not None:
                    self._write(_base(place), cause or statement)
            elif isinstance(place, ast.Name) and cause is not None:
                self._write(place.id, cause)
            elif isinstance(place, ast.Name) and not isinstance(statement, ast.AugAssign):
                self.written.pop(place.id, None)


def writes_at_targets(program: Program, trace: Trace) -> list[tuple[Module, ast.stmt]]:
    """The writes in functions that the claimed score comes from."""
    lines = [(score.place.file, score.place.line) for score in trace.claimed_scores()]
    codes = " ".join(score.place.code for score in trace.claimed_scores())
    return [
        (module, statement)
        for module in program.modules
        for function in module.of_kind(ast.FunctionDef)
        if f".{function.name}(" in codes
        or function.name == "forward"
        or any(name == module.name and _holds(function, line) for name, line in lines)
        for statement in _writes_of(function)
    ]


def _writes_of(function: ast.FunctionDef) -> list[ast.stmt]:
    if not any(_last_name(c.func) in _IN_PLACE | _ANEW for c in _calls(function)) and not any(
        isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        for node in ast.walk(function)
    ):
        return []
    probabilities = _probabilities_of(function)
    reader = _Reader(_targets_of(function, probabilities), probabilities)
    for statement in _in_order(function.body):
        reader.read(statement)
    return list(dict.fromkeys(reader.found))


def _probabilities_of(function: ast.FunctionDef) -> set[str]:
    """Names of what a softmax gave."""
    assigns = (node for node in ast.walk(function) if isinstance(node, ast.Assign))
    made = ((node.targets[0], node.value) for node in assigns)
    return {t.id for t, value in made if isinstance(t, ast.Name) and _is_of_softmax(value)}


def _is_of_softmax(node: ast.expr) -> bool:
    return any("softmax" in _last_name(call.func) for call in _calls(node))


def _targets_of(function: ast.FunctionDef, probabilities: set[str]) -> set[str]:
    """Names of what losses are reckoned over, with what they are another shape of."""
    own = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)} - {"self"}
    names = (node for node in ast.walk(function) if isinstance(node, ast.Name))
    own |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    targets = {
        _tokens(target)
        for call in _calls(function)
        for _, target in _scored_by(call, probabilities)
        if _base(target) in own
    }
    chains = [
        (node.targets[0].id, _tokens(node.value))
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    for _ in range(3):  # another shape of another shape
        targets |= {whole for name, whole in chains if name in targets and whole in own}
        targets |= {name for name, whole in chains if whole in targets}
    return {name for name in targets if name is not None}


def _scored_by(call: ast.Call, probabilities: set[str]) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Logits and targets of a loss; the distribution that is picked from, and the index."""
    named = {word.arg: word.value for word in call.keywords}
    if _last_name(call.func) in _LOSSES:
        target = named.get("target") or (call.args[1] if len(call.args) > 1 else None)
        logits = call.args[0] if call.args else named.get("input")
        if target is not None and logits is not None:
            yield logits, target
    elif _last_name(call.func) in _PICKING and isinstance(call.func, ast.Attribute):
        index = named.get("index") or (call.args[-1] if len(call.args) > 1 else None)
        picked_from = call.func.value
        if index is not None and (
            _is_of_softmax(picked_from) or _base(picked_from) in probabilities
        ):
            yield picked_from, index


def _in_order(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Simple statements in the order of the text, less what only training runs."""
    for statement in body:
        if isinstance(statement, ast.If) and "training" in ast.unparse(statement.test):
            yield from _in_order(statement.orelse)
        elif isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try):
            for block in ("body", "handlers", "orelse", "finalbody"):
                yield from _in_order(getattr(statement, block, []))
        elif isinstance(statement, ast.ExceptHandler):
            yield from _in_order(statement.body)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement


def _holds(function: ast.FunctionDef, line: int) -> bool:
    return function.lineno <= line <= (function.end_lineno or 0)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (part for part in ast.walk(node) if isinstance(part, ast.Call))


def _parts(index: ast.expr) -> list[ast.expr]:
    return index.elts if isinstance(index, ast.Tuple) else [index]


def _last_name(node: ast.expr) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _base(node: ast.expr) -> str | None:
    """The name that an expression takes its elements from."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _tokens(node: ast.expr) -> str | None:
    """`y` of `y.clamp(min=0)[:, None]`: the same tokens in another shape; a piece by its bounds."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Subscript):
            if any(isinstance(p, ast.Slice) and (p.lower or p.upper) for p in _parts(node.slice)):
                return ast.unparse(node)
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func.value
        else:
            return None
    return node.id


def _names(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
