"""Calls: a function of the script is entered with its arguments bound."""

import ast
import re

from verifier.data_flow.library import Arguments, Library
from verifier.data_flow.recorder import MAX_CALL_DEPTH
from verifier.data_flow.values import (
    DISPUTED,
    OBJECT,
    READ,
    TRAINING,
    VALIDATION,
    Class,
    Function,
    Scope,
    Value,
)

_IMPORTERS = ("spec_from_file_location", "import_module")
# When an optimizer calls what it was handed, and by which method it was.
_STEP_HOOKS = {
    "before step": "register_step_pre_hook",
    "after step": "register_step_post_hook",
}
_ORIGINS = {VALIDATION, TRAINING, READ}
_STRENGTH = re.compile(r"(?i)boost|bonus|beta|weight|alpha|strength")


class Calls(Library):
    """Evaluates calls; `run_body` is given by the class below it."""

    def run_body(self, function: Function, scope: Scope) -> Value:
        """The value that a function's body returns."""
        raise NotImplementedError

    def run_here(self, node: ast.Call, scope: Scope) -> None:
        """Follow code that was packed and is run at a call, under the names around it."""
        raise NotImplementedError

    def module_named(self, path: str) -> Value | None:
        """A module of the submission by its file's path or its dotted name."""
        raise NotImplementedError

    def call(self, node: ast.Call, scope: Scope) -> Value:
        """The value of a call, with what it does on the way."""
        arguments = self._arguments(node, scope)
        self.report(node, arguments.all)
        base, name = self._method_named(node.func, scope)
        if base is not None:
            receiver = self.evaluate(base, scope)
            callee = self.attribute_of(receiver, name)
            if callee.function is None and callee.class_ is None and not callee.name:
                return self._method(node, receiver, name, arguments)
        else:
            callee = self.evaluate(node.func, scope)
        if callee.name == "exec" and len(arguments.all) == 1 and self.calls:
            self.run_here(node, scope)  # whole scripts are run by the module itself
        return self.apply(node, callee, arguments)

    def _method_named(self, called: ast.expr, scope: Scope) -> tuple[ast.expr | None, str]:
        """What a method is called on, and its name: `x.step(...)` or `getattr(x, "step")(...)`."""
        if isinstance(called, ast.Attribute):
            return called.value, called.attr
        if isinstance(called, ast.Call) and getattr(called.func, "id", "") == "getattr":
            name = self.evaluate(called.args[1], scope).constant if len(called.args) > 1 else None
            if isinstance(name, str):
                return called.args[0], name
        return None, ""

    def apply(self, node: ast.Call, callee: Value, arguments: Arguments) -> Value:
        """Call a value."""
        if callee.class_ is not None:
            return self._construct(node, callee.class_, arguments)
        if callee.function is not None:
            return self._enter(node, callee.function, arguments)
        if callee.name:
            return self._library(node, callee.name, arguments)
        member = self._call_operator(callee)
        if member is not None:
            return self._enter(node, member, arguments)
        return self._foreign(node, callee, arguments)

    def _call_operator(self, callee: Value) -> Function | None:
        if callee.made_by is None or callee.made_by.is_module:
            return None
        method = callee.made_by.attributes.get("__call__")
        if method is None or method.function is None:
            return None
        return Function(node=method.function.node, scope=method.function.scope, receiver=callee)

    def _arguments(self, node: ast.Call, scope: Scope) -> Arguments:
        positional: list[Value] = []
        for argument in node.args:
            value = self.evaluate(argument, scope)
            if isinstance(argument, ast.Starred):
                positional += value.items if value.items is not None else [value.any_element()]
            else:
                positional.append(value)
        named: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, scope)
            if keyword.arg is not None:
                named[keyword.arg] = value
            else:
                named |= value.attributes or {}
        return Arguments(positional=tuple(positional), named=named)

    def _enter(self, node: ast.AST, function: Function, arguments: Arguments) -> Value:
        """Follow a function of the script; one that is being followed already only passes marks."""
        if function.node in self.calls or len(self.calls) >= MAX_CALL_DEPTH:
            return Value(marks=arguments.marks())
        scope = Scope(parent=function.scope)
        self._bind(function, arguments, scope)
        self.calls.append(function.node)
        self.call_names.append(function.name)
        self.dormant.append(_may_be_off(scope))
        try:
            return self.run_body(function, scope)
        finally:
            self.calls.pop()
            self.call_names.pop()
            self.dormant.pop()

    def _bind(self, function: Function, arguments: Arguments, scope: Scope) -> None:
        declared = function.node.args
        names = [argument.arg for argument in (*declared.posonlyargs, *declared.args)]
        values = list(arguments.positional)
        if function.receiver is not None:
            values.insert(0, function.receiver)
        defaults = declared.defaults
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            scope.names[name] = self.evaluate(default, function.scope)
        for argument, keyword_default in zip(
            declared.kwonlyargs, declared.kw_defaults, strict=True
        ):
            if keyword_default is not None:
                scope.names[argument.arg] = self.evaluate(keyword_default, function.scope)
        scope.names |= dict(zip(names, values, strict=False))
        if declared.vararg is not None:
            scope.names[declared.vararg.arg] = Value(items=values[len(names) :])
        known = {*names, *(argument.arg for argument in declared.kwonlyargs)}
        scope.names |= {name: v for name, v in arguments.named.items() if name in known}
        for name in known - scope.names.keys():
            scope.names[name] = Value()
        if declared.kwarg is not None:
            rest = {name: v for name, v in arguments.named.items() if name not in known}
            scope.names[declared.kwarg.arg] = Value(attributes=rest)

    def _construct(self, node: ast.AST, class_: Class, arguments: Arguments) -> Value:
        instance = Value(attributes={}, made_by=class_)
        if class_.is_module:
            instance.marks.add(self.new_mark(OBJECT))
            return instance
        if class_.is_optimizer:
            instance.marks |= arguments.marks()
            return instance
        maker = class_.attributes.get("__init__")
        if maker is not None and maker.function is not None:
            bound = Function(
                node=maker.function.node, scope=maker.function.scope, receiver=instance
            )
            self._enter(node, bound, arguments)
        else:
            instance.attributes = dict(arguments.named)
            self._finish(node, class_, instance)
        return instance

    def _finish(self, node: ast.AST, class_: Class, instance: Value) -> None:
        """What a dataclass does after its fields are set."""
        finisher = class_.attributes.get("__post_init__")
        if finisher is not None and finisher.function is not None:
            bound = Function(
                node=finisher.function.node, scope=finisher.function.scope, receiver=instance
            )
            self._enter(node, bound, Arguments(positional=(), named={}))

    def _foreign(self, node: ast.Call, callee: Value, arguments: Arguments) -> Value:
        """A call of something that is not followed: a model, or what we lost sight of."""
        made_of = callee.all_marks()
        if callee.made_by is not None and callee.made_by.is_module:
            made_of -= _ORIGINS  # what a model was shown before is no part of what it is shown now
        marks = made_of | arguments.marks()
        self.model_call(node, arguments.marks())
        shown = [value for value in arguments.all if VALIDATION in value.marks]
        if len(shown) > 1:
            marks = self.score(node, marks)
        return Value(marks=marks)

    def _method(self, node: ast.Call, receiver: Value, name: str, arguments: Arguments) -> Value:
        """A method that the script does not define."""
        if name == "step" and arguments.first().function is not None:  # it calls the closure
            self.apply(node, arguments.first(), Arguments(positional=(), named={}))
        if name in _STEP_HOOKS.values() and arguments.positional:
            self.step_hooks.setdefault(name, []).append(arguments.first())
        self._call_hooks(node, f"before {name}", receiver)
        known = self.known_method(node, receiver, name, arguments)
        self._call_hooks(node, f"after {name}", receiver)
        if known is not None:
            return known
        if any(mark.startswith(OBJECT) for mark in receiver.marks):
            return self._foreign(node, receiver, arguments)
        return Value(marks=receiver.all_marks() | arguments.marks())

    def _call_hooks(self, node: ast.Call, moment: str, receiver: Value) -> None:
        """What the script has told an optimizer to call around each step; whose it is, is open."""
        for hook in self.step_hooks.get(_STEP_HOOKS.get(moment, ""), []):
            self.apply(node, hook, Arguments(positional=(receiver, Value(), Value()), named={}))

    def _by_key(self, node: ast.Call, arguments: Arguments) -> Value:
        """min, max and sorted with a key: a choice where the key is a whole pass's score."""
        several = Value(items=list(arguments.positional))
        choices = arguments.first() if len(arguments.positional) == 1 else several
        one = choices.any_element()
        judged = self.apply(
            node, arguments.named["key"], Arguments(positional=(one,), named={})
        ).all_marks()
        best = one.view(self.choice(node, judged))
        if getattr(node.func, "id", "") != "sorted":
            return best
        return choices if best.marks <= one.marks else Value(marks=choices.marks, element=best)

    def _library(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """A library function; some of them come back to what the script defines."""
        if name == "getattr" and len(arguments.positional) > 1:
            return self._attribute_by_name(arguments)
        if name == "setattr" and len(arguments.positional) == 3:
            base, wanted, value = arguments.positional
            self.set_attribute(base, wanted.text, value)
        if name in ("min", "max", "sorted") and "key" in arguments.named:
            return self._by_key(node, arguments)
        if name.endswith("field") and "default_factory" in arguments.named:
            nothing = Arguments(positional=(), named={})
            return self.apply(node, arguments.named["default_factory"], nothing)
        if name.endswith(_IMPORTERS):
            module = self.module_named(
                arguments.positional[-1].text if arguments.positional else ""
            )
            if module is not None:
                return module
        return self.library_call(node, name, arguments)

    def _attribute_by_name(self, arguments: Arguments) -> Value:
        """What getattr finds under a literal name; its default where nothing is known."""
        base, wanted, *default = arguments.positional
        if default and not self.knows_attribute(base, wanted.text):
            return default[0]
        return self.attribute_of(base, wanted.text)


def _may_be_off(scope: Scope) -> bool:
    """Whether a function was called with a strength of zero, or of zero in some claimed runs."""
    strengths = (value for name, value in scope.names.items() if _STRENGTH.search(name))
    return any(
        DISPUTED in value.marks or (value.constant == 0 and value.constant is not False)
        for value in strengths
    )
