"""One seed's artifact, started cold as often as it takes: to score a passage, to decode it."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from verifier.runs.processes import Setting
from verifier.runs.seed_run import kept_artifact
from verifier.schemas.run_record_json import EvaluationPlan, StreamPlan
from verifier.stream.channel import Channel
from verifier.stream.passes import Passage, decode, score
from verifier.stream.pieces import Amounts, cut, draw, groups
from verifier.stream.predictor import Patience, Predictor
from verifier.stream.protocol import Tokens
from verifier.stream.session import Session

TELL_SECONDS = 20.0
"""Between two words to the user."""
SHARE_OF_WALL = 0.8
"""Of a session's wall time, in which tokens are shown; the rest is for its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A passage's losses, and what was seen on the way."""

    passage: Passage
    losses: NDArray[np.float64]  # (N,) nats, piece after piece
    code: bytes
    vocabulary: int
    largest_excess: float
    wall_seconds: float
    predicting_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """What came back of a passage."""

    targets: Tokens  # (N,)
    wall_seconds: float


@dataclass(kw_only=True, slots=True)
class Pace:
    """Whether there is time for another round, asked behind each: in this session, and at all."""

    wall_seconds: float
    """Of a session."""
    until: float = math.inf
    """`time.monotonic()` at which a passage's time is over."""
    started: float = field(default_factory=time.monotonic)
    times_told: int = 0
    """How often the user was told of it."""
    _last: float = 0.0
    _longest: float = 0.0

    def has_time(self) -> bool:
        """Whether one twice as long as the longest so far, start included, would still end."""
        spent = time.monotonic() - self.started
        self._longest, self._last = max(self._longest, spent - self._last), spent
        return spent + 2 * self._longest <= self.wall_seconds and self.goes_on()

    def goes_on(self) -> bool:
        """Whether another session would be worth its start."""
        return time.monotonic() + 2 * self._longest <= self.until


@dataclass(frozen=True, kw_only=True, slots=True)
class Streaming:
    """Starts sessions of one seed."""

    setting: Setting
    seed: int
    evaluation: EvaluationPlan
    plan: StreamPlan
    tape: Tokens

    def passages(self, rng: np.random.Generator) -> list[Passage]:
        """What is streamed, drawn now, a session each."""
        track = self.setting.harness.track.stream
        amounts = Amounts(
            num_targets=int(track.targets.value), piece_targets=int(track.piece_targets.value)
        )
        drawn = draw(cut(self.tape, self.plan), amounts, rng)
        return [
            Passage(pieces=group, tape=self.tape, num_lanes=self.plan.num_lanes)
            for group in groups(drawn, self.tape)
        ]

    def score(self, passage: Passage, name: str, seconds: float = math.inf) -> list[Scored]:
        """Losses and code of a passage, in as many sessions as the wall time of each wants.

        Args:
            passage: its pieces, in the order in which they were drawn.
            name: of its sessions' folders.
            seconds: after which the rest of the pieces is left out; one round is never too much.

        Raises as Session.hold does.
        """
        parts: list[Scored] = []
        until, goes_on = time.monotonic() + seconds, True
        while passage.pieces and goes_on:
            pace = Pace(wall_seconds=self._wall_seconds, until=until)
            parts.append(self._score(passage, f"{name}_{len(parts)}", pace))
            rest = passage.pieces[len(parts[-1].passage.pieces) :]
            passage, goes_on = replace(passage, pieces=rest), pace.goes_on()
        return parts

    def _score(self, passage: Passage, name: str, pace: Pace) -> Scored:
        """The first pieces of a passage, as many as one session has time for."""
        results, rounds_done = [], itertools.count(1)

        def has_time() -> bool:
            self._tell(passage, next(rounds_done), pace)
            return pace.has_time()

        def talk(predictor: Predictor) -> None:
            results.append((predictor, score(passage, predictor, has_time)))

        wall_seconds = self.hold(talk, name)
        [(predictor, coded)] = results
        return Scored(
            passage=replace(passage, pieces=coded.pieces),
            losses=coded.losses,
            code=coded.code,
            vocabulary=predictor.vocabulary or 0,
            largest_excess=predictor.largest_excess,
            wall_seconds=wall_seconds,
            predicting_seconds=predictor.predicting_seconds,
        )

    def _tell(self, passage: Passage, rounds_done: int, pace: Pace) -> None:
        """How far a session is, and how long the rest takes at this speed."""
        num_pieces, spent = len(passage.pieces), time.monotonic() - pace.started
        done = min(rounds_done * passage.num_lanes, num_pieces)
        if spent >= TELL_SECONDS * (1 + pace.times_told):
            pace.times_told += 1
            rest = spent * (num_pieces - done) / done
            text = f"{done:,} of {num_pieces:,} pieces in {spent:.0f} s, some {rest:.0f} s more"
            self.setting.harness.observer.note(f"seed {self.seed}: {text}")

    def decode(self, scored: Scored, name: str) -> Decoded:
        """What a passage's code gives back; raises as Session.hold does."""
        results = []

        def talk(predictor: Predictor) -> None:
            results.append(decode(scored.passage, scored.code, predictor))

        wall_seconds = self.hold(talk, name, share=1.0)
        return Decoded(targets=results[0], wall_seconds=wall_seconds)

    @property
    def _wall_seconds(self) -> float:
        return self.setting.harness.track.limits.hard_wall_seconds.value

    def hold(
        self, talk: Callable[[Predictor], None], name: str, share: float = SHARE_OF_WALL
    ) -> float:
        """A session from its cold start to its last word; raises and gives as Session.hold does.

        No token is shown behind a share of its wall time, so that it can still be closed.
        """
        until = time.monotonic() + share * self._wall_seconds

        def converse(channel: Channel) -> None:
            predictor = self._predictor(channel, until)
            talk(predictor)
            predictor.close()

        return self._session(name).hold(converse)

    def _predictor(self, channel: Channel, until: float) -> Predictor:
        track = self.setting.harness.track.stream
        patience = Patience(
            first_seconds=track.first_answer_seconds.value,
            answer_seconds=track.answer_seconds.value,
            until=until,
        )
        return Predictor(
            channel=channel, patience=patience, smallest_vocabulary=int(self.tape.max()) + 1
        )

    def _session(self, name: str) -> Session:
        journal = self.setting.harness.journal
        return Session(
            setting=self.setting,
            seed=self.seed,
            evaluation=self.evaluation,
            artifact=kept_artifact(journal.seed_folder(self.seed), self.evaluation),
            plan=self.plan,
            folder=journal.folder / f"stream_{self.seed}" / name,
        )
