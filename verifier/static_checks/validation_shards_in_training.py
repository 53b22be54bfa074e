"""Validation shards where the training data belongs, or validation text stored in the artifact."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cached_property

from verifier.claims.prose import statements
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.submission import FileKind
from verifier.reading.called_names import finding_at, literal_text
from verifier.reading.program import Module
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, cannot_tell_what_is_learned

_TRAINING_DATA = re.compile(
    r"(?i)(?:^|_)train(?:ing)?_(?:files?|patterns?|glob|paths?|shards?|loader|stream|data|tokens)$"
)
_VALIDATION_NAMES = re.compile(
    r"(?i)^val(?:idation)?_(?:files?|patterns?|glob|paths?|shards?|tokens)$"
)
_STATED = re.compile(
    r"(?i)\bval(?:idation)?[- ]only training|paid[- ]prefix"
    r"|\btrain(?:ed|ing|s)? (?:\w+ly |only )?on (?:the )?(?:full |public |fixed |entire )?"
    r"val(?:idation)?(?: (?:sets?|data|shards?|split|tokens))?\b"
)
# Adapting to tokens that are scored already is legal, and doing so before is another rule's.
_OTHER_RULE = re.compile(
    r"(?i)\bttt\b|test[- ]time|already|quanti[sz]|#\d|after (?:they|it)|scored"
)
_SWITCHED_ON = ("1", "true", "yes", "on")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A switch in front of such code counts as far as defaults, README and logs set it."""
    settings = _settings(case)
    findings = [
        finding
        for module in case.program.modules
        for switches in [_Switches(module, settings)]
        for node in module.of_kind(ast.Assign)
        for finding in _assignment_findings(module, node, switches)
    ]
    stated = [s for s in statements(case.submission, _STATED) if not _OTHER_RULE.search(s.text)]
    findings += [s.finding("validation data is used for training, as stated") for s in stated]
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    untold = None if findings else cannot_tell_what_is_learned(case.trace)
    return untold or CheckResult(findings=tuple(findings))


def _assignment_findings(
    module: Module, assign: ast.Assign, switches: "_Switches"
) -> Iterator[Finding]:
    """`train_files = …` or `train_loader = …` with a value that names validation shards."""
    target = assign.targets[0]
    name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
    if not _TRAINING_DATA.search(name):
        return
    value: ast.expr = assign.value
    for choice in [node for node in ast.walk(value) if isinstance(node, ast.IfExp)]:
        if _is_validation(choice.body) and not switches.are_on(choice.test):
            return
    guard = switches.guards.get(assign)
    if guard is not None and not switches.are_on(guard):
        return
    if _is_validation(value):
        yield finding_at(module, assign, f"{name!r} holds validation shards")


def _is_validation(value: ast.expr) -> bool:
    """Whether validation shards are named, alone or as the chosen one of two."""
    if isinstance(value, ast.IfExp):
        return _is_validation(value.body)
    names = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(value) if isinstance(n, ast.Attribute)}
    texts = [text for n in ast.walk(value) if (text := literal_text(n)) is not None]
    chosen = [n for n in ast.walk(value) if isinstance(n, ast.IfExp)]
    if chosen:
        return any(_is_validation(choice.body) for choice in chosen)
    if any("train" in text for text in texts) or any(_TRAINING_DATA.search(n) for n in names):
        return False
    return any("fineweb_val" in text for text in texts) or any(map(_VALIDATION_NAMES.match, names))


class _Switches:
    """What decides in a module whether a statement runs, and how the claimed run set it."""

    def __init__(self, module: Module, settings: Mapping[str, str]) -> None:
        self._module = module
        self._settings = settings

    @cached_property
    def guards(self) -> Mapping[ast.stmt, ast.expr]:
        """For each statement in the body of an `if`, the test."""
        return {s: branch.test for branch in self._module.of_kind(ast.If) for s in branch.body}

    @cached_property
    def _bindings(self) -> Mapping[str, list[ast.expr]]:
        """What each name is bound to."""
        module = self._module
        bindings = [
            (name, node.value) for node in module.of_kind(ast.Assign) for name in node.targets
        ]
        bindings += [(n.target, n.value) for n in module.of_kind(ast.AnnAssign) if n.value]
        values: dict[str, list[ast.expr]] = {}
        for target, value in bindings:
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(value)
        return values

    def are_on(self, test: ast.expr) -> bool:
        """Whether one of the names in a test was switched on; an unknown name counts as off."""
        names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(test) if isinstance(n, ast.Attribute)}
        return any(self._value(name) in _SWITCHED_ON for name in names)

    def _value(self, name: str) -> str | None:
        """What a name was set to: in the logs, by the README's command, else by its default."""
        variable, default = self._variable(name)
        for key in (variable, name):
            if key is not None and key.lower() in self._settings:
                return self._settings[key.lower()]
        return default

    def _variable(self, name: str) -> tuple[str | None, str | None]:
        """`name = bool(int(os.environ.get("VARIABLE", "default")))` → variable, default."""
        for value in self._bindings.get(name, ()):
            texts = [str(n.value) for n in ast.walk(value) if isinstance(n, ast.Constant)][:2]
            if texts:
                return texts[0], texts[1].lower() if len(texts) > 1 else None
        return None, None


def _settings(case: PaperCase) -> dict[str, str]:
    """Switches by name in small letters: assignments in the README's text, then the logs'."""
    settings: dict[str, str] = {}
    for file in case.submission.of_kind(FileKind.README):
        for found in re.finditer(r"\b([A-Z][A-Z0-9_]{2,60})=[\"']?(\w{1,20})", file.text or ""):
            settings[found[1].lower()] = found[2].lower()
    for claim in case.claims.logs:
        for name, value in claim.log.hyperparameters.items():
            settings[name.lower()] = value.lower()
    return settings
