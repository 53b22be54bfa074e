"""Leaves out of a program what its recipe never comes to, as edits to its source.

Branches whose condition `known_values` decides; statements after a return; local names, fields and
parameters that nothing reads any more. Each step keeps what the program does; `folded` repeats them
until none applies. Conditions are taken to have no side effects, and dataclasses to be made by
keywords: both hold throughout the package.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from trainer.recipe import Value
from trainer.submission_folder.known_values import Known, KnownValues, is_dataclass, known_values
from trainer.submission_folder.program_reads import (
    IMPURE,
    Reads,
    names_read,
    nodes_of,
    parsed,
    root_name,
)
from trainer.submission_folder.source_edits import Edit, SourceText, tidied

ENDINGS = ast.Return | ast.Raise | ast.Continue | ast.Break


def folded_once(sources: Mapping[str, str], fixed: Mapping[str, Value]) -> dict[str, str]:
    """A program's modules after one round of edits.

    Args:
        sources: module's name → its source.
        fixed: option's name → value.
    """
    trees = {name: parsed(source) for name, source in sources.items()}
    known = known_values(list(trees.values()), fixed)
    reads = Reads(list(trees.values()))
    return {
        name: tidied(changed(source, trees[name], known, reads)) for name, source in sources.items()
    }


def changed(source: str, tree: ast.Module, known: KnownValues, reads: Reads) -> str:
    """One module after one round of edits."""
    text = SourceText(source)
    folder = Folder(text=text, known=known, reads=reads, conditions=conditions_in(tree))
    return text.changed(list(folder.edits(tree)))


def conditions_in(tree: ast.Module) -> set[ast.expr]:
    """The expressions of which only the truth counts."""
    waiting = [node.test for node in nodes_of(tree) if isinstance(node, ast.If | ast.IfExp)]
    found = set()
    while waiting:
        node = waiting.pop()
        found.add(node)
        if isinstance(node, ast.BoolOp):
            waiting += node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            waiting.append(node.operand)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """The edits to one module."""

    text: SourceText
    known: KnownValues
    reads: Reads
    conditions: Collection[ast.expr]  # of which only the truth counts

    def edits(self, node: ast.AST, loads: Collection[str] = ()) -> Iterator[Edit]:
        """All edits at a node and below it.

        Args:
            node: where to look.
            loads: the local names that the outermost function around it reads.
        """
        if isinstance(node, ast.JoinedStr):  # Python 3.11 does not know where its parts are
            return
        if isinstance(node, ast.FunctionDef):
            loads = loads or names_read(node)
            yield from self._parameters(node)
        if isinstance(node, ast.IfExp):
            yield from self._choice(node)
        elif isinstance(node, ast.BoolOp):
            yield from self._connection(node)
        elif isinstance(node, ast.Call):
            yield from self._keywords(node)
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                yield from self._block(node, block, loads)
        for child in ast.iter_child_nodes(node):
            yield from self.edits(child, loads)

    def _block(
        self, owner: ast.AST, block: list[ast.stmt], loads: Collection[str]
    ) -> Iterator[Edit]:
        gone = [part for part in block if self._is_dead(part, owner, loads)]
        for one, after in pairwise(block):
            if isinstance(one, ENDINGS):
                gone.append(after)
        for statement in block:
            if statement in gone:
                # A branch is emptied; then, in the next round, left out if that leaves it nothing.
                yield self._removal(statement, leaves_nothing=len(gone) == len(block))
            elif isinstance(statement, ast.Assign) and self._is_unused(statement, loads):
                yield Edit(
                    start=self.text.span(statement)[0], end=self.text.span(statement.value)[0]
                )
            elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple):
                yield from self._parts(statement, statement.value, loads)
            elif isinstance(statement, ast.If):
                is_true = self.known.is_true(statement.test)
                if is_true is not None:
                    yield self._branch(statement, is_true=is_true, is_only=len(block) == 1)

    def _removal(self, statement: ast.stmt, *, leaves_nothing: bool) -> Edit:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        if leaves_nothing:
            start, end = self.text.span(statement)
            return Edit(start=start, end=end, text="pass")
        return self.text.without_lines(first, statement.end_lineno or first)

    def _is_dead(self, statement: ast.stmt, owner: ast.AST, loads: Collection[str]) -> bool:
        match statement:
            case ast.Assert(test=test):
                return self.known.is_true(test) is True
            case ast.Assign(targets=[target], value=ast.expr() as value):
                return self._is_unread(target, value, owner, loads)
            case ast.AnnAssign(target=target, value=value):
                return self._is_unread(target, value, owner, loads)
            case ast.If(body=[ast.Pass()], orelse=[]):
                return True
            case ast.Expr(
                value=ast.Call(func=ast.Name(id=name), args=arguments)
                | ast.YieldFrom(value=ast.Call(func=ast.Name(id=name), args=arguments))
            ):
                return name in self.reads.empty and all(map(self._is_pure, arguments))
            case ast.FunctionDef(name=name) if isinstance(owner, ast.ClassDef):
                # A class's base, such as a module, may call its public methods, but not ours.
                is_ours = not name.startswith("__") and (not owner.bases or name.startswith("_"))
                return is_ours and name not in self.reads.attributes
        return False

    def _is_unread(
        self, target: ast.expr, value: ast.expr | None, owner: ast.AST, loads: Collection[str]
    ) -> bool:
        is_pure = value is None or self._is_pure(value)
        match target:
            case ast.Name(id=name) if isinstance(owner, ast.ClassDef):
                if is_dataclass(owner):
                    return name not in self.reads.attributes and self._is_given_purely(owner, name)
                return value is not None and is_pure and name not in self.reads.attributes
            case ast.Name(id=name):
                return bool(loads) and is_pure and name not in loads
            case ast.Attribute(attr=name, value=ast.Name(id="self")) if value is not None:
                is_known = isinstance(self.known.of(value), Known)
                return is_known and is_pure and name not in self.reads.attributes
        return False

    def _parts(
        self, statement: ast.Assign, value: ast.Tuple, loads: Collection[str]
    ) -> Iterator[Edit]:
        """Names that nobody reads left out of `a, b = x, y`."""
        target = statement.targets[0]
        if not isinstance(target, ast.Tuple) or len(target.elts) != len(value.elts):
            return
        pairs = list(zip(target.elts, value.elts, strict=True))
        kept = [pair for pair in pairs if not self._is_unread(*pair, statement, loads)]
        if 0 < len(kept) < len(pairs):
            names, values = (
                ", ".join(self.text.of(pair[side]) for pair in kept) for side in (0, 1)
            )
            start, end = self.text.span(statement)
            yield Edit(start=start, end=end, text=f"{names} = {values}")

    def _is_unused(self, statement: ast.Assign, loads: Collection[str]) -> bool:
        """Whether only what happens while the value is computed counts, not the value."""
        target = statement.targets[0]
        return (
            isinstance(target, ast.Name)
            and isinstance(statement.value, ast.Call)
            and bool(loads)
            and target.id not in loads
        )

    def _is_pure(self, value: ast.expr) -> bool:
        """Whether evaluating it changes nothing: it calls dataclasses and known values alone."""
        return all(
            not isinstance(part, IMPURE)
            or (isinstance(part, ast.Call) and root_name(part.func) in self.reads.fields)
            or (isinstance(part, ast.Call) and isinstance(self.known.of(part), Known))
            for part in ast.walk(value)
        )

    def _is_given_purely(self, owner: ast.ClassDef, name: str) -> bool:
        return (owner.name, name) not in self.reads.computed

    def _branch(self, node: ast.If, *, is_true: bool, is_only: bool) -> Edit:
        """An `if` replaced by the branch that is taken."""
        text, last = self.text, node.end_lineno or 0
        colon = text.content.find(b":", text.span(node.test)[1])
        body_first = text.content.count(b"\n", 0, colon) + 2
        body_last = node.body[-1].end_lineno or 0
        is_elif = text.lines[node.lineno - 1].lstrip().startswith(b"elif")
        start = text.line_starts[node.lineno - 1]
        indent = " " * node.col_offset
        if is_true:
            kept = text.dedented(body_first, body_last, 0 if is_elif else 4)
            return Edit(
                start=start,
                end=text.line_starts[last],
                text=f"{indent}else:\n{kept}" if is_elif else kept,
            )
        if not node.orelse:
            if is_only and not is_elif:
                return Edit(start=start, end=text.line_starts[last], text=f"{indent}pass\n")
            return text.without_lines(node.lineno, last)
        has_elif = text.lines[body_last].lstrip().startswith(b"elif")
        if is_elif:
            return Edit(start=start, end=text.line_starts[body_last])
        rest = text.dedented(body_last + 1, last, 0)
        if has_elif:
            rest = indent + rest.lstrip().removeprefix("el")
        else:
            rest = text.dedented(body_last + 2, last, 4)
        return Edit(start=start, end=text.line_starts[last], text=rest)

    def _choice(self, node: ast.IfExp) -> Iterator[Edit]:
        is_true = self.known.is_true(node.test)
        if is_true is not None:
            start, end = self.text.span(node)
            chosen = node.body if is_true else node.orelse
            yield Edit(start=start, end=end, text=self.text.of(chosen))

    def _connection(self, node: ast.BoolOp) -> Iterator[Edit]:
        """The parts of `and` or `or` that decide nothing left out."""
        ends = isinstance(node.op, ast.Or)
        kept: list[ast.expr] = []
        for part in node.values:
            is_true = self.known.is_true(part)
            is_result = part is node.values[-1] and node not in self.conditions
            if is_true is None or is_true is ends or is_result:
                kept.append(part)
            if is_true is ends:
                break
        if 0 < len(kept) < len(node.values):
            word = " or " if ends else " and "
            start, end = self.text.span(node)
            parts = [self._in_parentheses(part, alone=len(kept) == 1) for part in kept]
            yield Edit(start=start, end=end, text=word.join(parts))

    def _in_parentheses(self, part: ast.expr, *, alone: bool) -> str:
        loose = isinstance(part, ast.BoolOp | ast.IfExp | ast.Lambda | ast.NamedExpr)
        return f"({self.text.of(part)})" if loose and not alone else self.text.of(part)

    def _keywords(self, node: ast.Call) -> Iterator[Edit]:
        """Arguments left out that fields no longer take, or that are the default anyway."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        for keyword in node.keywords:
            if keyword.arg is None:
                continue
            gone_field = name in self.reads.fields and keyword.arg not in self.reads.attributes
            if gone_field and (name, keyword.arg) not in self.reads.computed:
                yield self.text.without_element(*self.text.span(keyword))
            elif self._is_unread_or_default(node.func, keyword):
                yield self.text.without_element(*self.text.span(keyword))

    def _is_unread_or_default(self, function: ast.expr, keyword: ast.keyword) -> bool:
        name, found = str(keyword.arg), self.known.of(keyword.value)
        if root_name(function) in self.reads.imported | set(self.reads.fields):
            return False
        is_default = isinstance(found, Known) and self.reads.defaults.get(name) == {
            repr(found.value)
        }
        return name in self.reads.unread or is_default

    def _parameters(self, node: ast.FunctionDef) -> Iterator[Edit]:
        """Keyword-only parameters left out that no function of the program reads."""
        only = list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
        gone = [(arg, default) for arg, default in only if arg.arg in self.reads.unread]
        spans = [
            (self.text.span(arg)[0], self.text.span(default or arg)[1]) for arg, default in gone
        ]
        if not spans:
            return
        if len(gone) == len(only) and node.args.vararg is None:  # else the star is its own
            before = self.text.content.rfind(b"*", 0, spans[0][0])
            spans[0] = before, spans[0][1]
            if self.text.content[:before].rstrip(b" ").endswith(b"\n"):
                spans = [
                    (before, before + 1),
                    (self.text.span(gone[0][0])[0], spans[0][1]),
                    *spans[1:],
                ]
        for start, end in spans:
            yield self.text.without_element(start, end)
