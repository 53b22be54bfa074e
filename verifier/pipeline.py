"""The main path: a folder in, a verdict out, one call a stage."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.claims.seed_by_seed import collect_claims
from verifier.data_flow import follow_run
from verifier.data_flow.settings import read_settings
from verifier.errors import UsageError
from verifier.evidence import Paper, Seen, claimed_values, collect, unread_lines
from verifier.intake.submission import load_submission
from verifier.judging.one_reading import JudgedCase, judge_case, track_ledger
from verifier.judging.rule_outcomes import static_outcomes
from verifier.reading.code_bytes import count_code, declared_files
from verifier.reading.program import load_program, unparsed
from verifier.records.ledger import find_record
from verifier.rulebook import Rulebook, rules_folder
from verifier.runs.harness import Harness, RunObserver
from verifier.runs.journal import Journal, write_record
from verifier.runs.plan import PlanOptions, PreparedRun, make_plan, plan_key
from verifier.sandbox.base import Enforcement, Sandbox
from verifier.schemas.run_record_json import Evidence, RunPlan
from verifier.schemas.verdict_json import VerdictFile
from verifier.static_checks.base import PaperCase

if TYPE_CHECKING:
    from verifier.floor.world import World
    from verifier.sandbox.ahead import ProbesAhead


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What `run` needs beside the submission."""

    options: PlanOptions
    out: Path | None
    resume: bool
    observer: RunObserver
    world: "World | None" = None
    """On the rung 'floor': what the data of the plan were drawn from."""
    probes: "ProbesAhead | None" = None
    """Of the sandbox, where they were begun before all else."""
    whole_data: Path | None = None
    """On the rung 'probe': where the data lie of which the plan's may be a small copy."""
    fresh: Path | None = None
    """Documents to be scored among validation documents."""


def audit(path: Path, rulebook: Rulebook) -> Paper:
    """Read a submission and check it on paper.

    Raises:
        SubmissionUnreadableError: there is no submission at `path`.
    """
    submission = load_submission(path)
    claims = collect_claims(submission)
    program = load_program(submission)
    ranks = rulebook.track.launch.num_processes
    trace = follow_run(program, read_settings(submission, claims, program, ranks))
    case = PaperCase(
        submission=submission,
        claims=claims,
        program=program,
        trace=trace,
        track=rulebook.track,
    )
    return Paper(
        submission=replace(submission, problems=submission.problems + unparsed(program)),
        claims=claims,
        code_bytes=count_code(program, declared_files(submission)),
        rules=static_outcomes(case, rulebook),
        score_followed=trace.stopped is None and bool(trace.claimed_scores()),
    )


def check(path: Path, rulebook: Rulebook, profile_name: str, commit: str | None) -> VerdictFile:
    """The paper rung alone: it can reject, and never accepts, because nothing was run."""
    paper = audit(path, rulebook)
    case = JudgedCase(
        rulebook=rulebook,
        submission=paper.submission.name,
        submission_sha256=paper.submission.sha256,
        commit=commit,
        place=str(path),
        rung="paper",
        paper=paper.rules,
        claims=claimed_values(paper),
        unread=unread_lines(paper.submission, paper.claims),
        evidence=None,
    )
    return judge_case(case, profile_name)


def plan_run(paper: Paper, rulebook: Rulebook, options: PlanOptions) -> RunPlan:
    """What would be run, without running it."""
    return _prepare(paper, rulebook, options).plan


def run(paper: Paper, rulebook: Rulebook, request: RunRequest, sandbox: Sandbox) -> Journal:
    """Execute the plan and leave all evidence in the run directory.

    Raises:
        UsageError: `--against` names no record, or the sandbox cannot do what is asked; told
            before the runs, which may take hours.
        HarnessError: the sandbox, the data or the run directory failed us.
    """
    from verifier.runs.machine.host import find_gpus, missing_hardware

    if request.options.against is not None and rulebook.track.claims_record:
        find_record(track_ledger(rulebook.track.id), request.options.against)
    if request.options.independence and sandbox.sees_host_paths:
        raise UsageError(f"--independence: a run as {sandbox.name} sees the real validation data")
    prepared = _prepare(paper, rulebook, request.options)
    journal = Journal(request.out or default_out(prepared.plan))
    with journal.locked():
        journal.begin(prepared.plan, request.resume)
        request.observer.note(f"run directory {journal.folder}")
        request.observer.note(f"sandbox {sandbox.name}")
        request.observer.note(f"command {' '.join(prepared.plan.argv[1:])}")
        request.observer.note(f"environment from {prepared.plan.environment_origin}")
        if lacking := missing_hardware(rulebook.track.hardware, find_gpus()):
            request.observer.note(f"{lacking}: these runs can accept nothing")
        ahead = request.probes
        held = ahead.enforcements() if ahead else sandbox.guarantees(journal.folder)
        enforcements = held + _division(prepared, sandbox, journal)
        harness = Harness(
            submission=paper.submission,
            code_bytes=paper.code_bytes,
            track=rulebook.track,
            sandbox=sandbox,
            journal=journal,
            observer=request.observer,
        )
        seen = _see(request, prepared, harness, enforcements)
        write_record(journal.folder / "evidence.json", collect(prepared.plan, paper, seen))
    return journal


def _see(
    request: RunRequest,
    prepared: PreparedRun,
    harness: Harness,
    enforcements: tuple[Enforcement, ...],
) -> Seen:
    """Run the plan and look closer where its rung asks; each loads what it alone needs."""
    from verifier.runs.execute import execute  # psutil, which no paper check needs
    from verifier.runs.machine.host import describe_host

    if request.world is None:
        executed, floor = execute(prepared, harness), None
    else:
        from verifier.floor.climb import climb  # numpy, which no rerun needs

        climbed = climb(request.world, prepared, harness)
        executed, floor = climbed.executed, climbed.floor
    host = describe_host(harness.track.hardware)
    seen = Seen(executed=executed, enforcements=enforcements, host=host, floor=floor)
    if prepared.plan.rung == "probe":
        from verifier.probe.climb import probe

        seen = replace(seen, probe=probe(prepared, harness, executed, request.whole_data))
    if prepared.plan.rung == "stream":
        from verifier.probe.sampled import score_sampled
        from verifier.stream.climb import stream

        streams = stream(prepared, harness, executed)
        seen = replace(seen, streams=streams, sampled=score_sampled(prepared, harness, executed))
    if request.fresh is not None:
        from verifier.probe.fresh.assessment import score_fresh

        seen = replace(seen, fresh=score_fresh(prepared, harness, executed, request.fresh))
    return seen


def _prepare(paper: Paper, rulebook: Rulebook, options: PlanOptions) -> PreparedRun:
    claimed = claimed_values(paper).seeds
    seeds = [s.seed for s in claimed if s.seed is not None and s.val_bpb is not None]
    return make_plan(paper.submission, rulebook, options, tuple(seeds))


def _division(prepared: PreparedRun, sandbox: Sandbox, journal: Journal) -> tuple[Enforcement, ...]:
    """Whether each phase sees its own data alone, tried where the submission has two."""
    from verifier.runs.delivery import fresh_folder
    from verifier.runs.visibility import prove_division, undivided

    if prepared.plan.evaluation is None:
        return undivided()
    with fresh_folder(journal.folder / "look") as scratch:
        elsewhere = [rules_folder() / "corpora" / prepared.data.dataset.name]
        return prove_division(sandbox, prepared.data, scratch, elsewhere)


def judge(
    evidence: Evidence, rulebook: Rulebook, profile_name: str, place: Path | None = None
) -> VerdictFile:
    """Evidence on disk → verdict, without running anything.

    Args:
        evidence: of the runs.
        rulebook: of their track.
        profile_name: the reading of the rules.
        place: where the submission lies, if that is known, for the command that would decide.

    Raises:
        UsageError: the evidence is of another track, or there is no such profile.
    """
    if evidence.plan.track != rulebook.track.id:
        raise UsageError(f"the runs are of track {evidence.plan.track}, not {rulebook.track.id}")
    plan = evidence.plan
    case = JudgedCase(
        rulebook=rulebook,
        submission=plan.submission,
        submission_sha256=plan.submission_sha256,
        commit=plan.commit,
        place=str(place or plan.submission),
        rung=plan.rung,
        paper=evidence.paper,
        claims=evidence.claims,
        unread=evidence.unread,
        evidence=evidence,
    )
    return judge_case(case, profile_name)


def default_out(plan: RunPlan) -> Path:
    """runs/<submission>-<key>: the same plan always meets the same directory."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in plan.submission)[:80]
    return Path("runs") / f"{name}-{plan_key(plan)}"
