"""Rule outcomes → a verdict: a plain fold, no thresholds."""

from dataclasses import dataclass
from typing import Literal

from verifier.findings import Outcome, Severity
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import Evidence

Decision = Literal["accepted", "rejected", "inconclusive"]
GRADES = ("absent", "observed", "configured", "proved")
GRAVITY: tuple[Decision, ...] = ("accepted", "inconclusive", "rejected")
MAX_NAMED = 4
EXIT_CODES: dict[Decision, int] = {"accepted": 0, "rejected": 1, "inconclusive": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The word and the one sentence behind it."""

    decision: Decision
    because: str


def decide(
    rules: tuple[RuleRecord, ...], evidence: Evidence | None, profile: Profile, num_seeds: int
) -> Verdict:
    """Any broken rule of severity `reject` rejects; else anything unknown makes it inconclusive.

    Args:
        rules: every rule's answer.
        evidence: what the runs measured; None when nothing was run, and then nothing accepts.
        profile: names the guarantees that the sandbox must have held.
        num_seeds: assigned seeds that the track asks for.
    """
    required = [r for r in rules if r.severity is Severity.REJECT]
    broken = [r.rule for r in required if r.outcome is Outcome.BROKEN]
    if broken:
        return Verdict(decision="rejected", because=f"broken: {', '.join(broken)}")
    unknown = [r.rule for r in required if r.outcome is Outcome.NOT_EVALUATED]
    if unknown:
        because = f"{_how_far(evidence)}not evaluated: {_first_of(unknown)}"
        return Verdict(decision="inconclusive", because=because)
    doubt = "nothing was run" if evidence is None else _doubt(evidence, profile, num_seeds)
    if doubt:
        return Verdict(decision="inconclusive", because=doubt)
    return Verdict(decision="accepted", because=f"all {len(required)} required rules passed")


def _first_of(rules: list[str]) -> str:
    """A sentence's worth of them: the answers themselves stand in the table of rules."""
    left_out = len(rules) - MAX_NAMED
    return ", ".join(rules[:MAX_NAMED]) + (f" and {left_out} more" if left_out > 0 else "")


def _how_far(evidence: Evidence | None) -> str:
    """That nothing was run, or how a run ended that decides a few rules only."""
    if evidence is None:
        return "nothing was run; "
    if evidence.plan.rung not in ("rehearsal", "floor", "probe"):
        return ""
    rung = evidence.plan.rung
    failed = [m for m in evidence.measurements if m.outcome != "completed"]
    return f"{rung} failed here: {failed[0].detail}; " if failed else f"{rung} completed here; "


def _doubt(evidence: Evidence, profile: Profile, num_seeds: int) -> str | None:
    """What keeps measurements that break no rule from accepting."""
    if evidence.plan.rung not in ("rerun", "stream"):
        return f"only the rung '{evidence.plan.rung}' was climbed"
    if not evidence.plan.seeds_assigned:
        return "the seeds were named, not assigned: that checks a claim and cannot accept it"
    if len(evidence.plan.seeds) < num_seeds:
        return f"{len(evidence.plan.seeds)} seeds were run, the track asks for {num_seeds}"
    if not evidence.host.meets_track:
        return "this machine is not the track's hardware"
    held = {g.name: g.grade for g in evidence.guarantees}
    for name, wanted in profile.minimum_guarantees.items():
        grade = held.get(name, "absent")
        if GRADES.index(grade) < GRADES.index(wanted):
            return f"the guarantee '{name}' is {grade}, the profile asks for {wanted}"
    return None
