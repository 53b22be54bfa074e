"""Submission + Rulebook → RunPlan: what will be run, fixed and written before the first run."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import verifier
from verifier.errors import SubmissionUnreadableError, UsageError
from verifier.rulebook import Rulebook
from verifier.run_command import RunCommand, find_run_commands
from verifier.schemas.run_record_json import Rung, RunPlan
from verifier.submission import Submission
from verifier.track_data import TrackData, locate_data

DATA_INSIDE = "/pgolf/data"
TOKEN_LOSSES_FILE = ".pgolf_token_losses.f32"
MAX_NAMED = 20
PYTHON = "python"
"""Stands for the harness's own interpreter, whose path must not make another plan of the same."""
MAX_SEED = 2**32
"""Every generator that public scripts seed takes 32 bits."""
LOSSES_VARIABLE = "PGOLF_TOKEN_LOSSES"
OWN_NAMES = ("SEED", "DATA_PATH", "DATA_DIR", "TOKENIZER_PATH", "RUN_ID", LOSSES_VARIABLE)
"""Variables that the harness sets; a run command's values for them are never used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanOptions:
    """What the user may say about a run."""

    profile: str
    against: str | None = None
    rung: Rung = "rerun"
    seeds: tuple[int, ...] | None = None
    num_seeds: int | None = None
    data: Path | None = None
    num_processes: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    sandbox: str = "bubblewrap"
    commit: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A plan with the data on this machine that it runs on."""

    plan: RunPlan
    data: TrackData


def make_plan(submission: Submission, rulebook: Rulebook, options: PlanOptions) -> PreparedRun:
    """Decide seeds, command, environment and data.

    Raises:
        SubmissionUnreadableError: there is no script to run.
        UsageError: fewer seeds than one, the same seed twice, or a variable that is ours to set.
        DataError: the track's data is not here.
    """
    if submission.script is None:
        raise SubmissionUnreadableError(
            f"{submission.root}: no training script to run; add train_gpt.py"
        )
    if taken := sorted(set(options.environment) & set(OWN_NAMES)):
        raise UsageError(f"--env {taken[0]}: the harness sets it (see --seeds and --data)")
    command = choose_command(submission)
    wanted = PurePosixPath(command.environment.get("DATA_PATH", "")).name if command else ""
    data = locate_data(rulebook.track.dataset, options.data, wanted)
    plan = RunPlan(
        verifier_version=verifier.__version__,
        submission=submission.name,
        submission_sha256=submission.sha256,
        commit=options.commit,
        track=rulebook.track.id,
        track_sha256=rulebook.sha256,
        profile=options.profile,
        against=options.against,
        rung=options.rung,
        seeds=_seeds(submission, rulebook, options),
        seeds_assigned=options.seeds is None,
        argv=_argv(submission, rulebook, command, options),
        environment=_environment(submission, rulebook, command, options, data),
        environment_origin=_origin(command, options),
        data_folder=str(data.folder.resolve()),
        data=data.files,
        sandbox=options.sandbox,
    )
    return PreparedRun(plan=plan, data=data)


def plan_key(plan: RunPlan) -> str:
    """Twelve hexadecimal digits over everything that determines the runs."""
    content = plan.model_dump_json(exclude={"data_folder", "profile", "against"})
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def assigned_seeds(submission_sha256: str, track: str, count: int) -> tuple[int, ...]:
    """Seeds that nobody chose: the i-th is 31 bits of SHA-256 over submission, track and i.

    An author can only change them by changing the submission, and then does not know which are
    good without running them all.
    """
    return tuple(
        int.from_bytes(hashlib.sha256(f"{submission_sha256}/{track}/{i}".encode()).digest()[:4])
        >> 1
        for i in range(count)
    )


def choose_command(submission: Submission) -> RunCommand | None:
    """The README's launch line for the main script; the one that sets most wins."""
    assert submission.script is not None
    commands = [
        command
        for command in find_run_commands(submission.readme_text or "")
        if PurePosixPath(command.script).name == submission.script.path.name
    ]
    return max(commands, key=lambda c: len(c.environment), default=None)


def _seeds(submission: Submission, rulebook: Rulebook, options: PlanOptions) -> tuple[int, ...]:
    if options.seeds is not None:
        if len(set(options.seeds)) != len(options.seeds) or not options.seeds:
            raise UsageError("--seeds: give each seed once, such as --seeds 42,314,1337")
        if not all(0 <= seed < MAX_SEED for seed in options.seeds):
            raise UsageError(f"--seeds: give numbers between 0 and {MAX_SEED - 1}")
        return options.seeds
    count = options.num_seeds or int(rulebook.track.min_seeds.value)
    return assigned_seeds(submission.sha256, rulebook.track.id, count)


def _argv(
    submission: Submission, rulebook: Rulebook, command: RunCommand | None, options: PlanOptions
) -> tuple[str, ...]:
    assert submission.script is not None
    script = (str(submission.script.path), *(command.arguments if command else ()))
    launch = rulebook.track.launch
    if launch.launcher == "python" and options.num_processes is None:
        return (PYTHON, *script)
    count = options.num_processes or launch.num_processes
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}")
    return (PYTHON, *torchrun, *script)


def _environment(
    submission: Submission,
    rulebook: Rulebook,
    command: RunCommand | None,
    options: PlanOptions,
    data: TrackData,
) -> dict[str, str]:
    """The track's, the run command's, the user's; last what only the harness may set."""
    asked = rulebook.track.launch.environment | (command.environment if command else {})
    kept = {name: value for name, value in asked.items() if name not in OWN_NAMES}
    own = {
        "DATA_DIR": f"{DATA_INSIDE}/",
        "DATA_PATH": f"{DATA_INSIDE}/{data.dataset.relative_to(data.folder).as_posix()}",
        "TOKENIZER_PATH": f"{DATA_INSIDE}/{data.tokenizer.relative_to(data.folder).as_posix()}",
    }
    if submission.contract is not None:
        own[LOSSES_VARIABLE] = TOKEN_LOSSES_FILE
    return kept | options.environment | own


def _origin(command: RunCommand | None, options: PlanOptions) -> str:
    parts = [f"README line {command.line}" if command else "no run command in the README"]
    if command and command.left_out:
        names = ", ".join(command.left_out[:MAX_NAMED])
        more = len(command.left_out) - MAX_NAMED
        parts.append(
            f"left out (need a shell): {names}" + (f" and {more} more" if more > 0 else "")
        )
    if options.environment:
        parts.append(f"set by --env: {', '.join(sorted(options.environment))}")
    return "; ".join(parts)
