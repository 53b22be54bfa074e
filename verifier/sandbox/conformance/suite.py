"""Try a list of checks on one sandbox."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    """Try one check after another, those within first, and tell each answer as it comes.

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
        for tried in _trials(sandbox, checks, folder, take):
            tried()
    return tuple(answers)


def run_checks_at_once(
    sandbox: Sandbox, checks: Sequence[Check], scratch: Path
) -> tuple[Answer, ...]:
    """Try all checks side by side, as each mostly waits; arguments, errors as in run_checks."""
    answers: list[Answer] = []
    with _empty_folder(scratch / "probe") as folder:
        trials = _trials(sandbox, checks, folder, answers.append)
        with ThreadPoolExecutor(len(trials)) as threads:
            for trial in [threads.submit(trial) for trial in trials]:
                trial.result()
    return tuple(sorted(answers, key=lambda answer: checks.index(answer.check)))


def _trials(
    sandbox: Sandbox, checks: Sequence[Check], folder: Path, take: OnAnswer
) -> list[Callable[[], None]]:
    """What is to be done for the checks, each in a folder of its own."""
    within = [check for check in checks if check.outside is None]

    def try_within() -> None:
        (folder / "within").mkdir()
        with planted_around(folder / "within", sandbox.sees_host_paths) as plot:
            _try_within(sandbox, within, plot, take)

    def from_outside(check: Check) -> Callable[[], None]:
        stage = Stage(sandbox, folder / check.name)
        return lambda: take(_try_from_outside(check, stage))

    outside = [from_outside(check) for check in checks if check.outside is not None]
    return [try_within, *outside] if within else outside


@contextlib.contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    remove_tree(path)  # left by a harness that was killed
    path.mkdir()
    try:
        yield path
    finally:
        remove_tree(path)


def _try_within(sandbox: Sandbox, checks: Sequence[Check], plot: Plot, take: OnAnswer) -> None:
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
