"""Try a list of checks on one sandbox."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import verifier
from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import Sandbox, SandboxCommand
from verifier.sandbox.conformance.checks import Answer, Check, Outcome
from verifier.sandbox.conformance.inside.planted import NotApplicable
from verifier.sandbox.conformance.planting import DATA_INSIDE, Plot, planted_around
from verifier.sandbox.conformance.stage import Stage
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.scratch import remove_tree

PROBE_LIMITS = SandboxLimits(
    wall_seconds=120,
    memory_bytes=2**30,
    num_processes=64,
    output_bytes=2**20,
    scratch_bytes=2**26,
)
PACKAGE = Path(verifier.__file__).parent
NEEDED_INSIDE = (
    "__init__.py",
    "sandbox/__init__.py",
    "sandbox/system_calls.py",
    "sandbox/conformance/__init__.py",
    *(f"sandbox/conformance/inside/{p.name}" for p in Path(__file__).parent.glob("inside/*.py")),
)
"""The probes' modules; a copy of them goes into the sandbox, where ours are not to be seen."""
OnAnswer = Callable[[Answer], None]


def run_checks(
    sandbox: Sandbox, checks: Sequence[Check], scratch: Path, on_answer: OnAnswer
) -> tuple[Answer, ...]:
    """Try every check, those within first, and tell each answer as it comes.

    Args:
        sandbox: what is tried.
        checks: some or all of CHECKS.
        scratch: a folder of ours, in the run directory if there is one.
        on_answer: called once a check, in the order of trying.

    Raises:
        SandboxUnavailableError: the sandbox could not start, or said nothing readable; it cannot
            then be trusted with anything.
    """
    answers: list[Answer] = []

    def take(answer: Answer) -> None:
        answers.append(answer)
        on_answer(answer)

    with _empty_folder(scratch / "probe") as folder:
        with planted_around(folder, sandbox.sees_host_paths) as plot:
            _try_within(sandbox, [c for c in checks if c.outside is None], plot, take)
        stage = Stage(sandbox, folder)
        for check in checks:
            if check.outside is not None:
                take(_try_from_outside(check, stage))
    return tuple(answers)


@contextlib.contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    remove_tree(path)  # left by a harness that was killed
    path.mkdir()
    try:
        yield path
    finally:
        remove_tree(path)


def _try_within(sandbox: Sandbox, checks: Sequence[Check], plot: Plot, take: OnAnswer) -> None:
    if not checks:
        return
    for name in NEEDED_INSIDE:
        (plot.workdir / "verifier" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, plot.workdir / "verifier" / name)
    plot.tell()
    command = SandboxCommand(
        argv=(
            *(sys.executable, "-B", "-m", "verifier.sandbox.conformance.inside"),
            *(check.name for check in checks),
        ),
        workdir=plot.workdir,
        read_only={plot.data_folder: DATA_INSIDE},
    )
    waiting = {check.name: check for check in checks}
    said = b""

    def listen(_: float, line: bytes) -> None:
        nonlocal said
        answer = _read_answer(line, waiting)
        said = line if answer is None else said
        if answer is not None:
            take(answer)

    result = sandbox.execute(command, PROBE_LIMITS, listen)
    if len(waiting) == len(checks):
        raise SandboxUnavailableError(
            f"the {sandbox.name} sandbox could not run its own probes ({result.detail}): "
            f"{said.decode('utf-8', 'replace')[:300]}"
        )
    for check in waiting.values():
        take(Answer(check=check, outcome="not_held", reason="the probe hung or was killed"))


def _read_answer(line: bytes, waiting: dict[str, Check]) -> Answer | None:
    """One line of the probes; None where it is none of theirs."""
    try:
        fields = json.loads(line)
        check = waiting.pop(fields["check"])
    except (ValueError, KeyError, TypeError):
        return None
    if "not_applicable" in fields:
        return Answer(check=check, outcome="not_applicable", reason=fields["not_applicable"])
    return _answer(check, fields["breach"])


def _try_from_outside(check: Check, stage: Stage) -> Answer:
    assert check.outside is not None
    try:
        return _answer(check, check.outside(stage))
    except NotApplicable as reason:
        return Answer(check=check, outcome="not_applicable", reason=str(reason))


def _answer(check: Check, breach: str | None) -> Answer:
    outcome: Outcome = "held" if breach is None else "not_held"
    return Answer(check=check, outcome=outcome, reason=breach or "")
