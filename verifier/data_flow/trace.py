"""What a followed run did with the validation tokens, in order: scores, updates, reports."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from verifier.data_flow.unprinted import UnprintedLine
from verifier.data_flow.values import CHOSEN, COPY, OBJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the submitted code something happens."""

    file: str
    line: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One loop while it runs."""

    mark: str  # carried by all that depends on its variable
    place: Place
    advances_by_itself: bool  # a `while`: what it goes over cannot be read off a variable
    num_rounds: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, under which loops, and the marks of the values involved."""

    order: int
    place: Place
    loops: tuple[Loop, ...]
    branches: frozenset[int]  # the open branches that it happens in
    marks: frozenset[str]
    function: str

    def numbered(self, prefix: str) -> frozenset[str]:
        return frozenset(mark for mark in self.marks if mark.startswith(prefix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Event):
    """A loss of validation tokens is computed."""

    mark: str
    is_derived: bool  # from a model's loss computed before: only the tables read are new in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Event):
    """State changes by what data show: weights, a fitted tensor or a table of counts."""

    objects: frozenset[str]
    is_table: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Event):
    """A line with a BPB is printed."""

    is_claim: bool  # the logs have a line of this text with a claimed figure
    is_named: bool  # by the name under which scripts print the score that counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(Event):
    """Data run through the model to gather statistics for quantisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity(Event):
    """A step that a rule asks about: a mixture, a gate, a choice by hindsight."""

    mark: str


Kind = TypeVar("Kind", bound=Event)


@dataclass(slots=True)
class Trace:
    """All events in order; `stopped` says why the run was not followed to its end."""

    events: list[Event] = field(default_factory=list)
    stopped: str | None = None
    ended_branches: set[int] = field(default_factory=set)  # left for good before their end
    alternatives: dict[int, int] = field(default_factory=dict)  # two sides, one of which is taken
    saved: frozenset[str] = frozenset()  # objects whose weights went into a file, and their choices
    reserves_time: bool = False  # part of the training budget is kept for calibration
    unprinted: tuple[UnprintedLine, ...] = ()  # lines of the claimed run that other code printed

    def of_kind(self, kind: type[Kind]) -> Iterator[Kind]:
        return (event for event in self.events if isinstance(event, kind))

    def precedes(self, one: Event, other: Event) -> bool:
        """Whether `other` can still happen after `one`.

        Not where `one`'s branch was left, nor where it is on the other side of one decision.
        """
        if any(self.alternatives.get(branch) in other.branches for branch in one.branches):
            return False
        return one.order < other.order and not self.ended_branches & one.branches - other.branches

    def reported_scores(self) -> list[Score]:
        """The scores that reach any printed BPB."""
        printed = frozenset[str]().union(*(report.marks for report in self.of_kind(Report)))
        return [score for score in self.of_kind(Score) if score.mark in printed]

    def claimed_scores(self) -> list[Score]:
        """The scores that reach the claim."""
        claimed = self.claimed_marks()
        return [score for score in self.of_kind(Score) if score.mark in claimed]

    def claimed_oddities(self, prefix: str) -> list[Oddity]:
        """The odd steps of one kind on which the claim depends."""
        claimed = self.claimed_marks()
        oddities = self.of_kind(Oddity)
        return [odd for odd in oddities if odd.mark.startswith(prefix) and odd.mark in claimed]

    def choices(self) -> list[Oddity]:
        """Decisions by validation scores on which the claim depends, or weights that were saved."""
        oddities = self.of_kind(Oddity)
        decisive = self.claimed_marks() | self.saved
        return [odd for odd in oddities if odd.mark.startswith(CHOSEN) and odd.mark in decisive]

    def claimed_marks(self) -> frozenset[str]:
        """All that the claimed BPB depends on; where no line is the claim, any named val_bpb."""
        reports = list(self.of_kind(Report))
        claims = [report for report in reports if report.is_claim]
        claims = claims or [report for report in reports if report.is_named] or reports
        return frozenset[str]().union(*(report.marks for report in claims))


def shared_loops(one: Event, other: Event) -> tuple[Loop, ...]:
    """The loops around both."""
    shared = []
    for mine, its in zip(one.loops, other.loops, strict=False):
        if mine.mark != its.mark:
            break
        shared.append(mine)
    return tuple(shared)


def touches(update: Update, score: Score) -> bool:
    """Whether the score depends on what the update changed."""
    if score.is_derived and not update.is_table:
        return False
    used = {mark.removeprefix(COPY) for mark in score.marks if mark.startswith((OBJECT, COPY))}
    return bool(update.objects & used)
