"""What functions make of logits, distributions, probabilities and losses."""

import ast

from verifier.data_flow.expressions import Expressions
from verifier.data_flow.places import DISTRIBUTIONS, named_by_native_code
from verifier.data_flow.values import (
    BEST,
    COUNT,
    DISTRIBUTION,
    ENTROPY,
    HASHED,
    HINDSIGHT,
    LOG_DISTRIBUTION,
    LOG_NORM,
    LOSS,
    MIXTURE,
    PICKED,
    PIECE,
    PIECE_LENGTH,
    SIDE_BY_SIDE,
    SUMMED,
    TARGET_PROBABILITY,
    TOKEN_BLIND,
    UNKNOWN,
    VALIDATION,
    VOCABULARY,
    Value,
)

_LOSSES = {"cross_entropy", "nll_loss", "softcapped_cross_entropy", "linear_cross_entropy"}
_PIECES = {"id_to_piece", "IdToPiece", "encode", "decode", "piece_to_bytes"}
_PICKING = {"gather", "take_along_dim", "take_along_axis", "index_select"}
_LOGS = {"log", "log2", "log10", "log1p", "neg_log"}
_LEAST = {"min", "amin", "minimum"}
_EXPONENTIALS = {"exp", "exp2"}
_REDUCED = {"max", "amax", "argmax", "topk"}  # of a distribution: no longer one


class Probabilities(Expressions):
    """Evaluates functions that are also methods by what they make, and choices by hindsight."""

    def by_meaning(self, node: ast.AST, name: str, operands: list[Value]) -> Value | None:
        """Functions that are also methods, by what they make."""
        marks = set().union(*(value.all_marks() for value in operands)) if operands else set()
        if operands and reduces(name, operands):
            return Value(marks=marks - DISTRIBUTIONS)
        if name in _LEAST and operands and self._is_least_loss(operands[0]):
            return Value(marks=marks | {self.oddity(node, HINDSIGHT, marks)})
        if name in _LOSSES:
            return Value(marks=self.score(node, marks))
        if added := _added_by(name, operands):
            return Value(marks=marks | {added})
        if name in _PICKING:
            return Value(marks=self._pick(node, operands, marks))
        if name in _LOGS:
            return Value(marks=self._logarithm(node, marks))
        if name in _EXPONENTIALS:
            return self._exponential(operands[0])
        if name == "logaddexp" and len(operands) > 1:
            pair = [self._exponential(value) for value in operands[:2]]
            return Value(marks=marks | self.mixture(node, *pair))
        if name == "logsumexp":
            return Value(marks=self._log_of_sum(node, marks))
        return None

    def _pick(self, node: ast.AST, operands: list[Value], marks: set[str]) -> set[str]:
        """One entry a position: the realised token's, unless a table or an expert names it."""
        chosen_by = set().union(*(value.all_marks() for value in operands[1:]))
        if {COUNT, VOCABULARY} <= operands[0].marks and VALIDATION in chosen_by:
            return marks | {PICKED}
        if VALIDATION not in marks or COUNT in chosen_by or named_by_native_code(chosen_by):
            return marks
        if operands[0].marks & {DISTRIBUTION, LOG_DISTRIBUTION}:
            return self.picked(node, marks)
        return marks | {PICKED}

    def _log_of_sum(self, node: ast.AST, marks: set[str]) -> set[str]:
        """The norm of logits; over losses it mixes experts, each of which may sum to one."""
        if LOSS not in marks:
            return marks | {LOG_NORM}
        if marks & {COUNT, TOKEN_BLIND} and not any(mark.startswith(MIXTURE) for mark in marks):
            marks = marks | {self.oddity(node, MIXTURE, marks - {HASHED})}
        return marks

    @staticmethod
    def _exponential(value: Value) -> Value:
        """A probability, of one token or of all, where the log of one comes in."""
        marks = value.all_marks()
        if LOSS in marks:
            marks = marks - {LOSS} | {TARGET_PROBABILITY}
        elif LOG_DISTRIBUTION in marks:
            marks = marks - {LOG_DISTRIBUTION} | {DISTRIBUTION}
        return Value(marks=marks)

    def _logarithm(self, node: ast.AST, marks: set[str]) -> set[str]:
        """A loss, unless it is the log of a whole distribution."""
        if VALIDATION not in marks:
            return marks
        if marks & {TARGET_PROBABILITY, COUNT}:
            marks = marks | self._mixed_before(node, marks)
            marks = marks - {TARGET_PROBABILITY, DISTRIBUTION}
            return self.score(node, marks, is_derived=True)
        if DISTRIBUTION in marks:
            return marks - {DISTRIBUTION} | {LOG_DISTRIBUTION}
        return self.score(node, marks)

    def _mixed_before(self, node: ast.AST, marks: set[str]) -> set[str]:
        """The mark of a mixture that no addition showed: a weighted sum over stacked experts."""
        is_counted = {COUNT, HASHED} <= marks and VOCABULARY not in marks
        is_mixed = is_counted and bool(marks & {TARGET_PROBABILITY, LOSS})
        if not is_mixed or any(mark.startswith(MIXTURE) for mark in marks):
            return set()
        return {self.oddity(node, MIXTURE, marks)}

    def extreme(self, node: ast.Call, values: list[Value]) -> Value:
        marks = set().union(*(value.all_marks() for value in values)) if values else set()
        if values and reduces("max", values):
            return Value(marks=marks - DISTRIBUTIONS)
        if values and self._is_least_loss(values[0]):
            return Value(marks=marks | {self.oddity(node, HINDSIGHT, marks)})
        if self._keeps_best(node, values):
            return Value(marks=marks | {self.oddity(node, BEST, marks)})
        if len(values) == 2 and COUNT in marks and all(LOSS in v.marks for v in values):
            return Value(marks=marks | self.mixture(node, *map(self._exponential, values)))
        if len(values) > 1 and all(PIECE_LENGTH in value.marks for value in values):
            marks |= self.choice(node, marks)  # the better BPB of two passes
        return Value(marks=marks | self.hindsight(node, values))

    @staticmethod
    def _is_least_loss(value: Value) -> bool:
        """Whether the least is taken of several losses that a token has side by side."""
        return value.marks >= {SIDE_BY_SIDE, LOSS, VALIDATION}

    def _keeps_best(self, node: ast.Call, values: list[Value]) -> bool:
        """`best = minimum(best, loss)`: of the losses that a token gets, the lowest stays."""
        if self.assigned is None or not self.is_repeated or len(values) != 2:
            return False
        named = [*([node.func.value] if isinstance(node.func, ast.Attribute) else []), *node.args]
        kept = [ast.unparse(part) == ast.unparse(self.assigned) for part in named[-2:]]
        return any(
            is_kept and {LOSS, VALIDATION} <= other.marks and PIECE_LENGTH not in other.marks
            for is_kept, other in zip(kept, reversed(values), strict=False)
        )


def _added_by(name: str, operands: list[Value]) -> str:
    """The mark of a function that only adds one to what its arguments bring along."""
    if name == "sum":
        return SUMMED if operands and {COUNT, VOCABULARY} <= operands[0].marks else ""
    if name in _PIECES:
        return PIECE
    return {"softmax": DISTRIBUTION, "log_softmax": LOG_DISTRIBUTION}.get(name, "")


def reduces(name: str, operands: list[Value]) -> bool:
    """Whether a distribution over the vocabulary becomes numbers, one for each position."""
    marks = operands[0].marks
    is_summed = name == "sum" and ENTROPY in marks
    is_alone = all(operand.constant is not UNKNOWN for operand in operands[1:])  # but for a number
    return bool(marks & DISTRIBUTIONS) and is_alone and (name in _REDUCED or is_summed)
