"""The run command of a README: environment assignments and the launch line, nothing else.

It is text from a stranger: it is tokenised, never handed to a shell, and whatever needs a shell
(substitutions, loops' variables) is left out and named.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

MAX_README_LINES = 20_000
MAX_COMMAND_CHARS = 20_000
MAX_SETTINGS_CHARS = 4_000
"""Names and values together: more would carry bytes that nobody counts; public ones stay below."""
_ASSIGNMENT = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*=")
_COUNT = re.compile(r"[0-9]{1,4}")
_LAUNCHERS = ("torchrun", "python", "python3")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCommand:
    """One launch line with the assignments that hold for it."""

    environment: dict[str, str]
    script: str
    arguments: tuple[str, ...]
    num_processes: int | None
    line: int
    left_out: tuple[str, ...]
    """Assignments whose value only a shell could tell, and what is beyond MAX_SETTINGS_CHARS."""


def find_run_commands(readme: str) -> tuple[RunCommand, ...]:
    """Every launch line of a README, in order; exports before it in the same block count."""
    commands = []
    exports: dict[str, str] = {}
    for line_number, text in _logical_lines(readme):
        if text.startswith("```"):
            exports = {}
            continue
        tokens = _tokens(text)
        if tokens[:1] in (["export"], ["env"]):
            tokens = tokens[1:]
        assigned, rest = _split_assignments(tokens)
        if rest:
            command = _launch(rest, exports | assigned, line_number)
            if command is not None and "train" in command.script:
                commands.append(command)
        else:
            exports |= assigned
    return tuple(commands)


def read_launch_line(text: str) -> RunCommand | None:
    """A line that is nothing but assignments and a launch, of any script; None for another."""
    assigned, rest = _split_assignments(_tokens(text))
    return _launch(rest, assigned, line=1) if rest else None


def _logical_lines(readme: str) -> list[tuple[int, str]]:
    """Lines with their numbers, backslash continuations joined at the first one's number."""
    joined: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, line in enumerate(readme.splitlines()[:MAX_README_LINES], start=1):
        start = start or number
        stripped = line.strip()
        if stripped.endswith("\\") and len(pending) < MAX_COMMAND_CHARS:
            pending += stripped[:-1] + " "
            continue
        joined.append((start, (pending + stripped).strip().strip("`$ ") or pending))
        if stripped.startswith("```"):
            joined[-1] = (number, "```")
        pending, start = "", 0
    return joined


def _tokens(text: str) -> list[str]:
    if len(text) > MAX_COMMAND_CHARS or not any(mark in text for mark in ("=", *_LAUNCHERS)):
        return []
    if "\0" in text:  # no system hands it on
        return []
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # an apostrophe in prose
        return []


def _split_assignments(tokens: list[str]) -> tuple[dict[str, str], list[str]]:
    assigned: dict[str, str] = {}
    for position, token in enumerate(tokens):
        if not _ASSIGNMENT.match(token):
            return assigned, tokens[position:]
        name, _, value = token.partition("=")
        assigned[name] = value.rstrip(";")
    return assigned, []


def _launch(tokens: list[str], environment: dict[str, str], line: int) -> RunCommand | None:
    if PurePosixPath(tokens[0]).name not in _LAUNCHERS:
        return None
    script_at = next((i for i, t in enumerate(tokens) if t.endswith(".py") and i > 0), None)
    if script_at is None:
        return None
    kept, left_out = _without_shell(environment)
    return RunCommand(
        environment=kept,
        script=tokens[script_at],
        arguments=tuple(_until_shell_operator(tokens[script_at + 1 :])),
        num_processes=_num_processes(tokens[1:script_at]),
        line=line,
        left_out=left_out,
    )


def _without_shell(environment: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    kept: dict[str, str] = {}
    left_out = []
    num_chars = 0
    for name, value in environment.items():
        num_chars += len(name) + len(value)
        if "$" in value or "`" in value or num_chars > MAX_SETTINGS_CHARS:
            left_out.append(name)
        else:
            kept[name] = value
    return kept, tuple(sorted(left_out))


def _until_shell_operator(tokens: list[str]) -> list[str]:
    """Arguments of the script, up to a pipe, a redirection or the next command."""
    taken = []
    for token in tokens:
        if token[:1] in "|;&><" or token[:2] == "2>" or token in ("done", "done;"):
            break
        taken.append(token)
    return taken


def _num_processes(options: list[str]) -> int | None:
    for position, option in enumerate(options):
        name, _, value = option.partition("=")
        if name.replace("-", "_") == "__nproc_per_node":
            value = value or (options[position + 1] if position + 1 < len(options) else "")
            return int(value) if _COUNT.fullmatch(value) else None
    return None
