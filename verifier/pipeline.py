"""The main path: a folder in, a verdict out, one call a stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from verifier.claims import collect_claims
from verifier.comparison import Comparison, compare_with_prior
from verifier.errors import UsageError
from verifier.evidence import Paper, Seen, claimed_values, collect, unread_lines
from verifier.evidence_checks.base import EvidenceCase
from verifier.ledger import load_ledger
from verifier.rule_outcomes import evidence_outcomes, static_outcomes, unclimbed_outcomes
from verifier.rulebook import Rulebook, rules_folder
from verifier.runs.execute import Harness, RunObserver, execute
from verifier.runs.host import describe_host
from verifier.runs.journal import Journal, write_record
from verifier.runs.plan import PlanOptions, make_plan, plan_key
from verifier.sandbox.base import Sandbox
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import Evidence, RunPlan
from verifier.schemas.verdict_json import ProfileVerdict, VerdictFile
from verifier.static_checks.base import PaperCase
from verifier.submission import load_submission
from verifier.verdict import decide


class Observer(RunObserver, Protocol):
    """Who watches a run and hears of its stages."""

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What `run` needs beside the submission."""

    options: PlanOptions
    out: Path | None
    resume: bool
    observer: Observer


def audit(path: Path, rulebook: Rulebook) -> Paper:
    """Read a submission and check it on paper.

    Raises:
        SubmissionUnreadableError: there is no submission at `path`.
    """
    submission = load_submission(path)
    claims = collect_claims(submission)
    case = PaperCase(submission=submission, claims=claims, track=rulebook.track)
    return Paper(submission=submission, claims=claims, rules=static_outcomes(case, rulebook))


def check(path: Path, rulebook: Rulebook, profile: Profile, commit: str | None) -> VerdictFile:
    """The paper rung alone: never more than inconclusive, because nothing was run."""
    paper = audit(path, rulebook)
    rules = paper.rules + unclimbed_outcomes(rulebook, "nothing was run")
    verdict = decide(rules, None, profile)
    return VerdictFile(
        submission=paper.submission.name,
        commit=commit,
        submission_sha256=paper.submission.sha256,
        track=rulebook.track.id,
        profile=profile.id,
        rung="paper",
        verdict=verdict.decision,
        because=verdict.because,
        next_command=_deciding_command(str(path), rulebook, verdict.decision),
        rules=rules,
        claims=claimed_values(paper.claims),
        unread=unread_lines(paper.submission, paper.claims),
    )


def plan_run(paper: Paper, rulebook: Rulebook, options: PlanOptions) -> RunPlan:
    """What would be run, without running it."""
    return make_plan(paper.submission, rulebook, options).plan


def run(paper: Paper, rulebook: Rulebook, request: RunRequest, sandbox: Sandbox) -> Journal:
    """Execute the plan and leave all evidence in the run directory.

    Raises:
        HarnessError: the sandbox, the data or the run directory failed us.
    """
    prepared = make_plan(paper.submission, rulebook, request.options)
    journal = Journal(request.out or default_out(prepared.plan))
    with journal.locked():
        journal.begin(prepared.plan, request.resume)
        request.observer.note(f"run directory {journal.folder}")
        request.observer.note(f"command {' '.join(prepared.plan.argv[1:])}")
        request.observer.note(f"environment from {prepared.plan.environment_origin}")
        enforcements = sandbox.guarantees(journal.folder)
        harness = Harness(
            submission=paper.submission,
            track=rulebook.track,
            sandbox=sandbox,
            journal=journal,
            observer=request.observer,
        )
        seen = Seen(
            measurements=execute(prepared, harness),
            enforcements=enforcements,
            host=describe_host(rulebook.track.hardware),
        )
        write_record(journal.folder / "evidence.json", collect(prepared.plan, paper, seen))
    return journal


def judge(evidence: Evidence, rulebook: Rulebook, profile_name: str) -> VerdictFile:
    """Evidence on disk → verdict, without running anything."""
    profile = rulebook.profile(profile_name)
    rules, comparison = _judged(evidence, rulebook, profile)
    verdict = decide(rules, evidence, profile)
    others = []
    for other in rulebook.profiles.values():
        if other.id != profile.id:
            word = decide(_judged(evidence, rulebook, other)[0], evidence, other)
            others.append(
                ProfileVerdict(profile=other.id, verdict=word.decision, because=word.because)
            )
    return VerdictFile(
        submission=evidence.plan.submission,
        commit=evidence.plan.commit,
        submission_sha256=evidence.plan.submission_sha256,
        track=rulebook.track.id,
        profile=profile.id,
        rung=evidence.plan.rung,
        verdict=verdict.decision,
        because=verdict.because,
        next_command=_deciding_command(evidence.plan.submission, rulebook, verdict.decision),
        rules=rules,
        claims=evidence.claims,
        measurements=evidence.measurements,
        significance=comparison.record,
        guarantees=evidence.guarantees,
        other_profiles=tuple(others),
        unread=evidence.unread,
    )


def default_out(plan: RunPlan) -> Path:
    """runs/<submission>-<key>: the same plan always meets the same directory."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in plan.submission)[:80]
    return Path("runs") / f"{name}-{plan_key(plan)}"


def _judged(
    evidence: Evidence, rulebook: Rulebook, profile: Profile
) -> tuple[tuple[RuleRecord, ...], Comparison]:
    if evidence.plan.track != rulebook.track.id:
        raise UsageError(f"the runs are of track {evidence.plan.track}, not {rulebook.track.id}")
    comparison = Comparison(record=None, reason="this track claims no record")
    if rulebook.track.claims_record:
        ledger = load_ledger(rules_folder() / "records", rulebook.track.id)
        comparison = compare_with_prior(evidence, ledger, rulebook.track, profile)
    case = EvidenceCase(
        evidence=evidence,
        significance=comparison.record,
        no_significance=comparison.reason,
        track=rulebook.track,
        profile=profile,
    )
    return evidence.paper + evidence_outcomes(case, rulebook), comparison


def _deciding_command(submission: str, rulebook: Rulebook, decision: str) -> str | None:
    """Which command on which machine would settle an inconclusive verdict."""
    if decision != "inconclusive":
        return None
    hardware = rulebook.track.hardware
    machine = (
        f"{hardware.num_gpus} x {hardware.gpu_name or 'GPU'}" if hardware.num_gpus else "any CPU"
    )
    return f"pgolf-verify {submission} --track {rulebook.track.id} on a machine with {machine}"
