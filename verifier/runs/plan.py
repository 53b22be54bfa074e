"""Submission + Rulebook → RunPlan: what will be run, fixed and written before the first run."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import verifier
from verifier.errors import UsageError
from verifier.intake.submission import Submission
from verifier.rulebook import Rulebook
from verifier.runs.launch import OWN_NAMES, Launcher, choose_dataset, make_commands
from verifier.schemas.run_record_json import Rung, RunPlan
from verifier.track_data import TrackData, locate_data

MAX_SEED = 2**32
"""Every generator that public scripts seed takes 32 bits."""


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
    num_replicated: int = 0
    """How many of the author's seeds are run as well."""
    independence: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A plan with the data on this machine that it runs on."""

    plan: RunPlan
    data: TrackData


def make_plan(
    submission: Submission,
    rulebook: Rulebook,
    options: PlanOptions,
    author_seeds: tuple[int, ...] = (),
) -> PreparedRun:
    """Decide seeds, command, environment and data.

    Args:
        submission: what is run.
        rulebook: the track's limits, data and launch.
        options: the user's word.
        author_seeds: seeds that the folder claims a score of, in its order.

    Raises:
        SubmissionUnreadableError: there is no script to run, or its contract cannot be kept.
        UsageError: fewer seeds than one, the same seed twice, or a variable that is ours to set.
        DataError: the track's data is not here.
    """
    if taken := sorted(set(options.environment) & set(OWN_NAMES)):
        raise UsageError(f"--env {taken[0]}: the harness sets it (see --seeds and --data)")
    data = locate_data(rulebook.track.dataset, options.data, choose_dataset(submission))
    launcher = Launcher(
        launch=rulebook.track.launch,
        data=data,
        num_processes=options.num_processes,
        environment=options.environment,
    )
    commands = make_commands(submission, launcher)
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
        argv=commands.argv,
        environment=commands.environment,
        environment_origin=commands.origin,
        evaluation=commands.evaluation,
        data_folder=str(data.folder.resolve()),
        data=data.files,
        sandbox=options.sandbox,
        replicated_seeds=tuple(dict.fromkeys(author_seeds))[: options.num_replicated],
        independence=options.independence,
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


def _seeds(submission: Submission, rulebook: Rulebook, options: PlanOptions) -> tuple[int, ...]:
    if options.seeds is not None:
        if len(set(options.seeds)) != len(options.seeds) or not options.seeds:
            raise UsageError("--seeds: give each seed once, such as --seeds 42,314,1337")
        if not all(0 <= seed < MAX_SEED for seed in options.seeds):
            raise UsageError(f"--seeds: give numbers between 0 and {MAX_SEED - 1}")
        return options.seeds
    count = options.num_seeds or int(rulebook.track.min_seeds.value)
    return assigned_seeds(submission.sha256, rulebook.track.id, count)
