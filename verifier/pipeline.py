"""The main path: a folder in, a verdict out, one call a stage."""

import shlex
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.artifact_sizes import artifact_sizes
from verifier.claims import collect_claims
from verifier.code_bytes import count_code, declared_files
from verifier.comparison import Comparison, compare_with_prior
from verifier.data_flow import follow_run
from verifier.data_flow.settings import read_settings
from verifier.errors import UsageError
from verifier.evidence import Paper, Seen, claimed_values, collect, unread_lines
from verifier.evidence_checks.base import EvidenceCase
from verifier.ledger import find_record, load_ledger
from verifier.paper_comparison import ClaimedGain, claimed_gain, compare_claims
from verifier.program import load_program, unparsed
from verifier.rule_outcomes import evidence_outcomes, static_outcomes
from verifier.rulebook import Rulebook, rules_folder
from verifier.runs.harness import Harness, RunObserver
from verifier.runs.journal import Journal, write_record
from verifier.runs.plan import PlanOptions, PreparedRun, make_plan, plan_key
from verifier.sandbox.base import Enforcement, Sandbox
from verifier.schemas.ledger_yaml import Ledger
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import ClaimedValues, Evidence, RunPlan
from verifier.schemas.verdict_json import ProfileVerdict, VerdictFile
from verifier.static_checks.base import PaperCase
from verifier.submission import load_submission
from verifier.verdict import Verdict, decide

NO_RECORD_CLAIMED = "this track claims no record"

if TYPE_CHECKING:
    from verifier.floor.climb import Climbed
    from verifier.floor.world import World
    from verifier.runs.harness import Executed
    from verifier.sandbox.ahead import ProbesAhead
    from verifier.schemas.fresh_record_json import FreshRecord
    from verifier.schemas.probe_record_json import ProbeRecord
    from verifier.schemas.sampled_record_json import SampledRecord
    from verifier.schemas.stream_record_json import StreamRecord


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
    case = _Case(
        rulebook=rulebook,
        submission=paper.submission.name,
        paper=paper.rules,
        claims=claimed_values(paper),
        evidence=None,
    )
    judged = _judge(case, rulebook.profile(profile_name))
    return VerdictFile(
        submission=paper.submission.name,
        commit=commit,
        submission_sha256=paper.submission.sha256,
        track=rulebook.track.id,
        profile=profile_name,
        rung="paper",
        verdict=judged.verdict.decision,
        because=judged.verdict.because,
        next_command=_deciding_command(str(path), rulebook, judged.verdict),
        rules=judged.rules,
        claims=case.claims,
        sizes=artifact_sizes(case.claims, (), _cap_bytes(rulebook)),
        significance=judged.comparison.record,
        other_profiles=_other_verdicts(case, profile_name),
        unread=unread_lines(paper.submission, paper.claims),
    )


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
    from verifier.runs.execute import execute  # psutil, which no paper check needs
    from verifier.runs.host import describe_host, find_gpus, missing_hardware

    if request.options.against is not None and rulebook.track.claims_record:
        find_record(_ledger(rulebook.track.id), request.options.against)
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
        climbed = _climb(request.world, prepared, harness) if request.world else None
        executed = climbed.executed if climbed else execute(prepared, harness)
        seen = Seen(
            executed=executed,
            enforcements=enforcements,
            host=describe_host(rulebook.track.hardware),
            floor=climbed.floor if climbed else None,
            probe=_probe(prepared, harness, executed, request.whole_data),
            streams=_stream(prepared, harness, executed),
            sampled=_sampled(prepared, harness, executed),
            fresh=_fresh(prepared, harness, executed, request.fresh),
        )
        write_record(journal.folder / "evidence.json", collect(prepared.plan, paper, seen))
    return journal


def _climb(world: "World", prepared: PreparedRun, harness: Harness) -> "Climbed":
    from verifier.floor.climb import climb  # numpy, which no other rung needs

    return climb(world, prepared, harness)


def _probe(
    prepared: PreparedRun, harness: Harness, executed: "Executed", whole_data: Path | None
) -> "ProbeRecord | None":
    if prepared.plan.rung != "probe":
        return None
    from verifier.probe.climb import probe  # numpy, which no rerun needs

    return probe(prepared, harness, executed, whole_data)


def _sampled(
    prepared: PreparedRun, harness: Harness, executed: "Executed"
) -> "SampledRecord | None":
    if prepared.plan.rung != "stream":
        return None
    from verifier.probe.sampled import score_sampled  # what streaming imported

    return score_sampled(prepared, harness, executed)


def _fresh(
    prepared: PreparedRun, harness: Harness, executed: "Executed", path: Path | None
) -> "FreshRecord | None":
    if path is None:
        return None
    from verifier.probe.fresh import score_fresh  # numpy, which no rerun needs

    return score_fresh(prepared, harness, executed, path)


def _stream(
    prepared: PreparedRun, harness: Harness, executed: "Executed"
) -> "tuple[StreamRecord, ...]":
    if prepared.plan.rung != "stream":
        return ()
    from verifier.stream.climb import stream  # the entropy coder, which no other rung needs

    return stream(prepared, harness, executed)


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
    case = _Case(
        rulebook=rulebook,
        submission=evidence.plan.submission,
        paper=evidence.paper,
        claims=evidence.claims,
        evidence=evidence,
    )
    judged = _judge(case, rulebook.profile(profile_name))
    return VerdictFile(
        submission=evidence.plan.submission,
        commit=evidence.plan.commit,
        submission_sha256=evidence.plan.submission_sha256,
        track=rulebook.track.id,
        profile=profile_name,
        rung=evidence.plan.rung,
        verdict=judged.verdict.decision,
        because=judged.verdict.because,
        next_command=_deciding_command(
            str(place or evidence.plan.submission), rulebook, judged.verdict
        ),
        rules=judged.rules,
        claims=evidence.claims,
        measurements=evidence.measurements,
        replications=evidence.replications,
        mutations=evidence.mutations,
        floor=evidence.floor,
        probe=evidence.probe,
        streams=evidence.streams,
        sampled=evidence.sampled,
        fresh=evidence.fresh,
        sizes=artifact_sizes(evidence.claims, evidence.measurements, _cap_bytes(rulebook)),
        significance=judged.comparison.record,
        guarantees=evidence.guarantees,
        other_profiles=_other_verdicts(case, profile_name),
        unread=evidence.unread,
    )


def default_out(plan: RunPlan) -> Path:
    """runs/<submission>-<key>: the same plan always meets the same directory."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in plan.submission)[:80]
    return Path("runs") / f"{name}-{plan_key(plan)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """What is judged: the same under every profile."""

    rulebook: Rulebook
    submission: str
    paper: tuple[RuleRecord, ...]
    claims: ClaimedValues
    evidence: Evidence | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """One profile's answers."""

    rules: tuple[RuleRecord, ...]
    comparison: Comparison
    """Of our runs, and of the claims where nothing was run."""
    verdict: Verdict


def _judge(case: _Case, profile: Profile) -> _Judged:
    comparison, claimed = _comparison(case, profile), _claimed_comparison(case, profile)
    evidence_case = EvidenceCase(
        evidence=case.evidence,
        claims=case.claims,
        significance=comparison.record,
        no_significance=comparison.reason,
        claimed_significance=claimed.record,
        no_claimed_significance=claimed.reason,
        claimed_gain=_claimed_gain(case),
        track=case.rulebook.track,
        profile=profile,
    )
    rules = case.paper + evidence_outcomes(evidence_case, case.rulebook)
    return _Judged(
        rules=rules,
        comparison=comparison if case.evidence else claimed,
        verdict=decide(rules, case.evidence, profile, int(case.rulebook.track.min_seeds.value)),
    )


def _comparison(case: _Case, profile: Profile) -> Comparison:
    track = case.rulebook.track
    if case.evidence is None or not track.claims_record:
        reason = "nothing was run" if case.evidence is None else NO_RECORD_CLAIMED
        return Comparison(record=None, reason=reason)
    return compare_with_prior(case.evidence, _ledger(track.id), track, profile)


def _claimed_comparison(case: _Case, profile: Profile) -> Comparison:
    track = case.rulebook.track
    if not track.claims_record:
        return Comparison(record=None, reason=NO_RECORD_CLAIMED)
    answer = compare_claims(case.claims, case.submission, _ledger(track.id), profile, track)
    if isinstance(answer, str):
        return Comparison(record=None, reason=answer)
    return Comparison(record=answer, reason=None)


def _claimed_gain(case: _Case) -> ClaimedGain | str:
    track = case.rulebook.track
    if not track.claims_record:
        return NO_RECORD_CLAIMED
    return claimed_gain(case.claims, case.submission, _ledger(track.id))


@cache
def _ledger(track: str) -> Ledger:
    """The track's ledger, read once: every profile is tested against it."""
    return load_ledger(rules_folder() / "records", track)


def _other_verdicts(case: _Case, profile_name: str) -> tuple[ProfileVerdict, ...]:
    others = [p for name, p in case.rulebook.profiles.items() if name != profile_name]
    verdicts = [_judge(case, profile).verdict for profile in others]
    return tuple(
        ProfileVerdict(profile=profile.id, verdict=verdict.decision, because=verdict.because)
        for profile, verdict in zip(others, verdicts, strict=True)
    )


def _cap_bytes(rulebook: Rulebook) -> int:
    return int(rulebook.track.limits.artifact_bytes.value)


def _deciding_command(submission: str, rulebook: Rulebook, verdict: Verdict) -> str | None:
    """Which command on which machine would settle an inconclusive verdict."""
    if verdict.decision != "inconclusive":
        return None
    hardware = rulebook.track.hardware
    gpus = f"{hardware.num_gpus} x {hardware.gpu_name or 'GPU'}"
    machine = f"a machine with {gpus}" if hardware.num_gpus else "any machine"
    return f"pgolf-verify {shlex.quote(submission)} --track {rulebook.track.id} on {machine}"
