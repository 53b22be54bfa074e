"""One seed's artifact, started cold as often as it takes: to score a passage, to decode it."""

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
    """Whether a session has time for another round before its wall, asked behind each."""

    wall_seconds: float
    started: float = field(default_factory=time.monotonic)
    _last: float = 0.0
    _longest: float = 0.0

    def has_time(self) -> bool:
        """Whether one twice as long as the longest so far, start included, would still end."""
        spent = time.monotonic() - self.started
        self._longest, self._last = max(self._longest, spent - self._last), spent
        return spent + 2 * self._longest <= self.wall_seconds


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

    def score(self, passage: Passage, name: str) -> list[Scored]:
        """Losses and code of a passage, in as many sessions as the wall time of each wants.

        Raises as Session.hold does.
        """
        parts: list[Scored] = []
        while passage.pieces:
            parts.append(self._score(passage, f"{name}_{len(parts)}"))
            rest = passage.pieces[len(parts[-1].passage.pieces) :]
            passage = replace(passage, pieces=rest)
        return parts

    def _score(self, passage: Passage, name: str) -> Scored:
        """The first pieces of a passage, as many as one session has time for."""
        pace = Pace(wall_seconds=self._wall_seconds)
        results = []

        def talk(predictor: Predictor) -> None:
            results.append((predictor, score(passage, predictor, pace.has_time)))

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
