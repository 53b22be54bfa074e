"""One reading of the rules over what is known of a submission → its verdict, with all its reasons.

On paper nothing was run, and then nothing accepts; with runs only what was measured decides.
"""

import shlex
from dataclasses import dataclass
from functools import cache

from verifier.artifact_sizes import artifact_sizes
from verifier.evidence_checks.base import EvidenceCase
from verifier.judging.rule_outcomes import evidence_outcomes
from verifier.records.comparison import compare_with_prior
from verifier.records.ledger import load_ledger
from verifier.records.paper_comparison import ClaimedGain, claimed_gain, compare_claims
from verifier.rulebook import Rulebook, rules_folder
from verifier.schemas.ledger_yaml import Ledger
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import ClaimedValues, Evidence, Rung
from verifier.schemas.significance_json import SignificanceRecord
from verifier.schemas.verdict_json import ProfileVerdict, VerdictFile
from verifier.verdict import Verdict, decide

NO_RECORD_CLAIMED = "this track claims no record"
TOLD_OF_RUNS = (
    *("measurements", "replications", "mutations", "floor", "probe", "streams", "sampled"),
    *("fresh", "guarantees"),
)
"""What a verdict holds of the runs just as the evidence does, so that a report needs it alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedCase:
    """What is judged: the same under every profile."""

    rulebook: Rulebook
    submission: str
    submission_sha256: str
    commit: str | None
    place: str
    """What the user would name it by in a command."""
    rung: Rung
    paper: tuple[RuleRecord, ...]
    """The static rules' answers."""
    claims: ClaimedValues
    unread: tuple[str, ...]
    evidence: Evidence | None
    """None on paper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """One profile's answers."""

    rules: tuple[RuleRecord, ...]
    significance: SignificanceRecord | str
    """Of our runs, and of the claims where nothing was run; a text says why there is none."""
    verdict: Verdict


def judge_case(case: JudgedCase, profile_name: str) -> VerdictFile:
    """The verdict under one profile, and beside it what each other profile would say.

    Raises:
        UsageError: there is no such profile.
    """
    rulebook, evidence = case.rulebook, case.evidence
    reading = _read(case, rulebook.profile(profile_name))
    test = reading.significance
    file = VerdictFile(
        submission=case.submission,
        commit=case.commit,
        submission_sha256=case.submission_sha256,
        track=rulebook.track.id,
        profile=profile_name,
        rung=case.rung,
        verdict=reading.verdict.decision,
        because=reading.verdict.because,
        next_command=_deciding_command(case, reading.verdict),
        rules=reading.rules,
        claims=case.claims,
        sizes=artifact_sizes(
            case.claims,
            evidence.measurements if evidence else (),
            int(rulebook.track.limits.artifact_bytes.value),
        ),
        significance=None if isinstance(test, str) else test,
        other_profiles=_other_verdicts(case, profile_name),
        unread=case.unread,
    )
    return file.model_copy(update={n: getattr(evidence, n) for n in TOLD_OF_RUNS if evidence})


@cache
def track_ledger(track: str) -> Ledger:
    """The track's ledger, read once: every profile is tested against it."""
    return load_ledger(rules_folder() / "records", track)


def _read(case: JudgedCase, profile: Profile) -> _Reading:
    asked = _evidence_case(case, profile)
    rules = case.paper + evidence_outcomes(asked, case.rulebook)
    return _Reading(
        rules=rules,
        significance=asked.significance if case.evidence else asked.claimed_significance,
        verdict=decide(rules, case.evidence, profile, int(asked.track.min_seeds.value)),
    )


def _evidence_case(case: JudgedCase, profile: Profile) -> EvidenceCase:
    """What evidence rules are asked about: runs and claims, both held against the prior record."""
    track, evidence = case.rulebook.track, case.evidence
    measured: SignificanceRecord | str = NO_RECORD_CLAIMED if evidence else "nothing was run"
    claimed: SignificanceRecord | str = NO_RECORD_CLAIMED
    gain: ClaimedGain | str = NO_RECORD_CLAIMED
    if track.claims_record:
        ledger = track_ledger(track.id)
        measured = compare_with_prior(evidence, ledger, track, profile) if evidence else measured
        claimed = compare_claims(case.claims, case.submission, ledger, profile, track)
        gain = claimed_gain(case.claims, case.submission, ledger)
    return EvidenceCase(
        evidence=evidence,
        claims=case.claims,
        significance=measured,
        claimed_significance=claimed,
        claimed_gain=gain,
        track=track,
        profile=profile,
    )


def _other_verdicts(case: JudgedCase, profile_name: str) -> tuple[ProfileVerdict, ...]:
    others = [p for name, p in case.rulebook.profiles.items() if name != profile_name]
    verdicts = [_read(case, profile).verdict for profile in others]
    return tuple(
        ProfileVerdict(profile=profile.id, verdict=verdict.decision, because=verdict.because)
        for profile, verdict in zip(others, verdicts, strict=True)
    )


def _deciding_command(case: JudgedCase, verdict: Verdict) -> str | None:
    """Which command on which machine would settle an inconclusive verdict."""
    if verdict.decision != "inconclusive":
        return None
    track, hardware = case.rulebook.track, case.rulebook.track.hardware
    machine = f"  # on a machine with {hardware.num_gpus} x {hardware.gpu_name or 'GPU'}"
    command = f"pgolf-verify {shlex.quote(case.place)} --track {track.id}"
    return command + (machine if hardware.num_gpus else "")
