"""Names, attributes and items: what is written there, and what reading them gives."""

import ast
from dataclasses import replace

from verifier.data_flow.recorder import Recorder
from verifier.data_flow.values import (
    COUNT,
    DISTRIBUTION,
    FILE_NAME,
    GRADIENT,
    HASHED,
    LOG_DISTRIBUTION,
    LOSS,
    NATIVE_CALL,
    TARGET_PROBABILITY,
    TOKEN_CLASS,
    TRAINING,
    UNKNOWN,
    VALIDATION,
    Function,
    Scope,
    Value,
)

DISTRIBUTIONS = frozenset({DISTRIBUTION, LOG_DISTRIBUTION})
_ORIGINS = frozenset({VALIDATION, TRAINING})
ONE_NUMBER = frozenset({LOSS, TARGET_PROBABILITY})


class Places(Recorder):
    """Reads and writes what expressions name; they are evaluated by the class below it."""

    def evaluate(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an expression."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """Bind a target, whatever its shape."""
        if isinstance(target, ast.Name):
            scope.assign(target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value, scope)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value, scope)
        elif isinstance(target, ast.Attribute):
            self.set_attribute(self.evaluate(target.value, scope), target.attr, value)
        elif isinstance(target, ast.Subscript):
            self._set_item(target, value, scope)

    def _unpack(self, targets: list[ast.expr], value: Value, scope: Scope) -> None:
        items = value.items
        if items is None or len(items) != len(targets):
            items = [value.any_element() for _ in targets]
        for target, item in zip(targets, items, strict=True):
            self.assign(target, item, scope)

    def set_attribute(self, base: Value, name: str, value: Value) -> None:
        """Give `base` an attribute, which is also known by its name alone."""
        if base.attributes is None:
            base.attributes = {}
        if name in self.changing_attributes and value.constant is not UNKNOWN:
            value = replace(value, constant=UNKNOWN)
        base.attributes[name] = value
        self.attributes[name] = value

    def _set_item(self, target: ast.Subscript, value: Value, scope: Scope) -> None:
        base, index = self.evaluate(target.value, scope), self.evaluate(target.slice, scope)
        self.note_table_write(target, base, index)
        base.absorb(value.marks | index.all_marks() - {FILE_NAME} | self.gating(value))
        if base.element is None and base.items is None and value.has_structure:
            base.element = value
        elif base.element is not None:
            base.element.absorb(value.all_marks())

    def note_table_write(self, node: ast.AST, base: Value, index: Value) -> None:
        """A table entry under a key made of validation tokens changes."""
        key = index.all_marks()
        if self._is_table_key(base, key):
            self.update(node, key, {base.identity}, is_table=True)

    @staticmethod
    def _is_table_key(base: Value, key: set[str]) -> bool:
        """A hash or a mapping's key made of tokens; what was counted before is no key."""
        is_of_tokens = VALIDATION in key and not key & {COUNT, FILE_NAME}
        return is_of_tokens and (HASHED in key or base.is_mapping)

    def attribute_of(self, base: Value, name: str) -> Value:
        """The value of `base.name`."""
        if name in ("shape", "size", "ndim", "dtype", "device"):
            return Value()
        if name == "ctypes":  # the same memory, for native code
            return base
        if base.name and name not in (base.attributes or {}):
            return Value(name=f"{base.name}.{name}")
        found = self._member(base, name)
        if found is None and name == "data":  # a tensor's memory, whatever else is called so
            return base
        if found is None and base.made_by is None and base.class_ is None:
            found = self.attributes.get(name)
            if found is not None and found.constant is UNKNOWN and not found.marks:
                found = None
        if found is None:
            found = Value(marks=base.all_marks() | ({GRADIENT} if name == "grad" else set()))
        return found

    def knows_attribute(self, base: Value, name: str) -> bool:
        """Whether the script gives `base`, or anything, an attribute of that name."""
        return self._member(base, name) is not None or name in self.attributes

    @staticmethod
    def _member(base: Value, name: str) -> Value | None:
        if base.attributes is not None and name in base.attributes:
            return base.attributes[name]
        class_ = base.made_by or base.class_
        if class_ is None or name not in class_.attributes:
            return None
        member = class_.attributes[name]
        kind = _method_kind(member.function)
        if kind == "classmethod":
            base = Value(class_=class_)
        elif member.function is None or base.made_by is None or kind == "staticmethod":
            return member
        elif class_.is_module:
            return None
        function = member.function
        return Value(function=replace(function, receiver=base) if function else None)

    def item_of(self, node: ast.AST, base: Value, index: Value) -> Value:
        """The value of `base[index]`."""
        position = index.constant
        if base.items is not None and isinstance(position, int):
            if -len(base.items) <= position < len(base.items):
                return base.items[position]
        if base.attributes is not None and isinstance(position, str):
            if position in base.attributes:
                return base.attributes[position]
        keys = index.all_marks()
        is_counted = self._is_table_key(base, keys)
        if base.element is not None or base.items:
            return base.any_element().view(keys | ({COUNT, base.identity} if is_counted else set()))
        marks = base.marks | keys
        if FILE_NAME in keys and base.is_mapping:
            return Value(marks=marks - _ORIGINS | keys & _ORIGINS)  # each file has its own entry
        if is_counted:
            marks |= {COUNT, base.identity}
        if VALIDATION in keys and VALIDATION not in base.marks:
            marks.add(TOKEN_CLASS)
        is_named = named_by_native_code(keys)
        if VALIDATION in keys and base.marks & DISTRIBUTIONS and not is_named:
            marks = self.picked(node, marks)
        return Value(marks=marks, is_mapping=base.is_mapping)

    def picked(self, node: ast.AST, marks: set[str]) -> set[str]:
        """What stands in a distribution at the realised token: its loss or its probability."""
        if not marks & ONE_NUMBER:
            marks = marks - {COUNT, HASHED}  # counts that went into the whole distribution
        scored = self.score(node, marks - DISTRIBUTIONS)
        return scored if LOG_DISTRIBUTION in marks else scored - {LOSS} | {TARGET_PROBABILITY}


def named_by_native_code(chosen_by: set[str]) -> bool:
    """Whether an expert in another language says which symbol is meant: not the realised one."""
    return any(mark.startswith(NATIVE_CALL) for mark in chosen_by)


def _method_kind(function: Function | None) -> str:
    """`classmethod` or `staticmethod` where a method is decorated so."""
    decorators = getattr(function.node, "decorator_list", []) if function is not None else []
    names = [getattr(decorator, "id", "") for decorator in decorators]
    return next((name for name in names if name in ("classmethod", "staticmethod")), "")
