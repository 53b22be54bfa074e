"""What a submission claims, seed by seed: submission.json and the logs side by side.

Nothing here is a measurement, and nothing is decided: where two claims differ both are kept.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from verifier.claims.log_lines import FinalMetric
from verifier.claims.training_log import TrainingLog, read_training_log
from verifier.intake.submission import Submission, SubmissionFile
from verifier.schemas.submission_json import Metadata, SeedClaim
from verifier.units import implied_bytes

HEADLINE_TOLERANCE_BPB = 6e-5  # headlines are given with four decimals or more
_COARSEST_DECIMALS = 4  # of a validation during training
_SEED_IN_NAME = re.compile(r"seed[_-]?(\d{1,10})(?!\d)|_s(\d{1,10})(?=$|[_.-])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpliedBytes:
    """The bytes that a printed loss and BPB were computed over, given the tokens scored.

    `low` and `high` allow for the rounding of the two printed figures.
    """

    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogClaim:
    """One log and the seed it belongs to."""

    file: SubmissionFile
    log: TrainingLog
    seed: int | None  # as the log says, else as the file's name says
    seed_in_name: int | None
    implied_validation_bytes: ImpliedBytes | None

    @property
    def label_mismatch(self) -> bool:
        """Whether the file's name says another seed than the log in it."""
        if self.seed_in_name is None or self.log.seed is None:
            return False
        return str(self.log.seed) not in re.findall(r"\d+", self.file.path.stem)

    @property
    def val_bpb(self) -> float | None:
        return self.log.headline.val_bpb if self.log.headline else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedClaims:
    """All that is claimed of one seed."""

    seed: int
    stated: SeedClaim | None  # in submission.json
    log: LogClaim | None  # of this seed's logs, the one whose headline is nearest to the claim
    other_logs: tuple[LogClaim, ...] = ()

    @property
    def val_bpb(self) -> float | None:
        """The stated BPB, else what the log says."""
        if self.stated is not None and self.stated.val_bpb is not None:
            return self.stated.val_bpb
        return self.log.val_bpb if self.log else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """All that a submission claims; `metadata` holds what it says of itself as a whole."""

    metadata: Metadata | None
    seeds: tuple[SeedClaims, ...]  # by number
    logs: tuple[LogClaim, ...]  # every log once, by path, with those of no known seed

    @property
    def headline_bpb(self) -> float | None:
        """The one BPB that submission.json claims."""
        return self.metadata.val_bpb if self.metadata else None

    @property
    def claiming_logs(self) -> tuple[LogClaim, ...]:
        """The scored logs that stand behind the claim: one a listed seed, or all where none is.

        A folder may hold trial runs, earlier versions and ablations beside them.
        """
        listed = set(self.metadata.seeds) if self.metadata else set()
        chosen = [s.log for s in self.seeds if s.log and s.seed in listed and s.log.val_bpb]
        if chosen:
            return tuple(chosen)
        scored = [log for log in self.logs if log.val_bpb is not None]
        exact = [log for log in scored if self._carries_headline(log)]
        named = [seed.log for seed in self.seeds if seed.log and seed.log.val_bpb is not None]
        return tuple(exact if len(exact) == 1 and len(named) < 2 else named or scored)

    def claimed_metric(self, log: LogClaim) -> FinalMetric | None:
        """The line of a log that carries its claim, timed if there is one; else its headline."""
        stated = [s.stated.val_bpb for s in self.seeds if s.stated and s.seed == log.seed]
        wanted = [value for value in (*stated, self.headline_bpb) if value is not None]
        carrying = [
            metric
            for value in wanted
            for metric in (*log.log.finals, *log.log.diagnostics)
            if metric.val_bpb is not None and abs(metric.val_bpb - value) <= HEADLINE_TOLERANCE_BPB
        ]
        timed = [metric for metric in carrying if metric.eval_seconds is not None]
        return next(iter((*timed, *carrying)), log.log.headline)

    def is_another_packing(self, log: LogClaim) -> bool:
        """Whether the only scored log ends elsewhere than the claim, which states its own size.

        Whoever packs a model anew states the new score with the new size; the sizes in the log are
        then no claim. What submission.json says against the log is told by a rule of its own.
        """
        stated_bytes = self.metadata.bytes_total if self.metadata else None
        is_alone = len([one for one in self.logs if one.val_bpb is not None]) == 1
        metric, stated_bpb = self.claimed_metric(log), self.headline_bpb
        if not is_alone or stated_bytes is None or stated_bpb is None or metric is None:
            return False
        return abs((metric.val_bpb or 0.0) - stated_bpb) > HEADLINE_TOLERANCE_BPB

    def _carries_headline(self, log: LogClaim) -> bool:
        stated = self.headline_bpb
        return stated is not None and any(
            final.val_bpb is not None and abs(final.val_bpb - stated) <= HEADLINE_TOLERANCE_BPB
            for final in log.log.finals
        )

    @property
    def claimed_bpbs(self) -> tuple[float, ...]:
        """One score a seed behind the claim: as submission.json lists them, else as logged."""
        stated = [claim for claim in self.metadata.per_seed] if self.metadata else []
        listed = [claim.val_bpb for claim in stated if claim.val_bpb is not None]
        if listed:
            return tuple(listed)
        by_seed = {log.seed: log.val_bpb for log in self.claiming_logs if log.seed is not None}
        unnamed = [log.val_bpb for log in self.claiming_logs if log.seed is None]
        return tuple(bpb for bpb in (*by_seed.values(), *unnamed) if bpb is not None)

    @property
    def seed_bpbs(self) -> dict[int, float]:
        """Claimed BPB by seed, as far as there is one."""
        return {seed.seed: seed.val_bpb for seed in self.seeds if seed.val_bpb is not None}


def collect_claims(submission: Submission) -> Claims:
    """Read every log once and put it beside what submission.json says of its seed."""
    logs = tuple(_log_claim(file) for file in submission.logs if file.duplicate_of is None)
    metadata = submission.metadata or Metadata()
    stated = {claim.seed: claim for claim in metadata.per_seed}
    in_logs = {log.seed for log in logs if log.seed is not None}
    seeds = sorted(in_logs.union(stated, metadata.seeds))
    return Claims(
        metadata=submission.metadata,
        seeds=tuple(_seed_claims(seed, stated.get(seed), logs, metadata.val_bpb) for seed in seeds),
        logs=logs,
    )


def _seed_claims(
    seed: int, stated: SeedClaim | None, logs: Iterable[LogClaim], headline_bpb: float | None
) -> SeedClaims:
    """One seed's claims; without a figure of its own the headline says which log is meant."""
    claimed = stated.val_bpb if stated and stated.val_bpb is not None else headline_bpb

    def distance(log: LogClaim) -> float:
        if claimed is None or log.val_bpb is None:
            return float("inf")
        return abs(log.val_bpb - claimed)

    own = sorted((log for log in logs if log.seed == seed), key=distance)
    return SeedClaims(
        seed=seed, stated=stated, log=own[0] if own else None, other_logs=tuple(own[1:])
    )


def seed_in_name(path: PurePosixPath) -> int | None:
    """The seed that a log's file name says; None where it says none."""
    named = [first or second for first, second in _SEED_IN_NAME.findall(path.stem)]
    return int(named[-1]) if named else None


def _log_claim(file: SubmissionFile) -> LogClaim:
    log = read_training_log(file)
    named = seed_in_name(file.path)
    return LogClaim(
        file=file,
        log=log,
        seed=log.seed if log.seed is not None else named,
        seed_in_name=named,
        implied_validation_bytes=implied_validation_bytes(log.val_tokens, log.headline),
    )


def plain_denominators(log: TrainingLog) -> tuple[ImpliedBytes, ...]:
    """The denominators of every pair that a log prints beside its headline, in its order.

    Validations during training and diagnostics score the bare model: where a headline mixes in
    another predictor, they still show the text that was scored.
    """
    others = (*log.diagnostics, *log.finals[:-1])
    plain = [
        FinalMetric(
            line=point.line,
            label="validation",
            val_loss=point.val_loss,
            val_bpb=point.val_bpb,
            loss_decimals=_COARSEST_DECIMALS,
            bpb_decimals=_COARSEST_DECIMALS,
        )
        for point in log.validation_points
    ]
    implied = (implied_validation_bytes(log.val_tokens, metric) for metric in (*plain, *others))
    return tuple(found for found in implied if found is not None)


def implied_validation_bytes(
    val_tokens: int | None, metric: FinalMetric | None
) -> ImpliedBytes | None:
    """The denominator behind a printed pair of figures; None where a figure is missing.

    Near 151.08 million on the challenge's whole validation set, whatever the tokenizer. Methods
    that mix in byte-level predictions break the relation honestly.
    """
    if val_tokens is None or metric is None or metric.val_loss is None or metric.val_bpb is None:
        return None
    loss_rounding = 0.5 * 10.0**-metric.loss_decimals
    bpb_rounding = 0.5 * 10.0**-metric.bpb_decimals
    if metric.val_bpb <= bpb_rounding or metric.val_loss <= loss_rounding:
        return None
    low = implied_bytes(val_tokens, metric.val_loss - loss_rounding, metric.val_bpb + bpb_rounding)
    high = implied_bytes(val_tokens, metric.val_loss + loss_rounding, metric.val_bpb - bpb_rounding)
    value = implied_bytes(val_tokens, metric.val_loss, metric.val_bpb)
    return ImpliedBytes(low=low, value=value, high=high)
