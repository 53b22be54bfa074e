"""The ledger: which record a submission must beat, and what the board looks like by each profile.

A row is on the frontier when its mean over seeds is lower than that of every accepted row above it.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import RulebookError, UsageError
from verifier.records.comparison_settings import ComparisonSettings, SeedNoise
from verifier.records.significance import compare_samples
from verifier.schemas.ledger_yaml import Ledger, Record, TokenizerFamily
from verifier.schemas.profile_yaml import Profile
from verifier.schemas.significance_json import Significance
from verifier.schemas.yaml_file import read_yaml

SEEDS_FOR_A_TEST = 2
"""Below two seeds there is no variance, so no test."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorRecord:
    """The bar that stood when a submission was made.

    `best` has the lowest mean; `tested` is the latest frontier row with seeds enough for a test.
    They differ only where the best row ran a single seed: then a submission is tested against
    `tested`, must have a lower mean than `best` as well, and `note` says so.
    """

    best: Record
    tested: Record | None
    note: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """One line of `pgolf-verify records`."""

    record: Record
    mean_bpb: float | None
    std_bpb: float | None
    """Sample standard deviation (ddof 1)."""
    num_seeds: int
    max_artifact_bytes: int | None
    on_frontier: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardRow:
    """One frontier row, held against the row that stood on a profile's own board before it."""

    record: Record
    prior: Record | None
    significance: Significance | None
    """None for the first row and for rows with too few seeds."""
    admitted: bool
    note: str | None


def load_ledger(folder: Path, track: str) -> Ledger:
    """The ledger of a track from `rules/records`.

    Raises:
        RulebookError: the file is missing, malformed, or belongs to another track.
    """
    path = folder / f"{track}.yaml"
    ledger = read_yaml(path, Ledger)
    if ledger.track != track:
        raise RulebookError(f"{path}: is the ledger of {ledger.track!r}; rename one of the two")
    return ledger


def find_record(ledger: Ledger, name: str) -> Record:
    """The record of a folder's name or a pull request: `pr1855`, `#1855` or `1855`.

    Raises:
        UsageError: no record has that name, or several folders came with that pull request.
    """
    number = name.lower().removeprefix("pr").lstrip(" #")
    found = [r for r in ledger.records if name == r.folder or number == str(r.pr)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{name}: no such record on track {ledger.track}; see 'records'")
    folders = ", ".join(record.folder for record in found)
    raise UsageError(f"{name}: came with several records; name the folder: {folders}")


def chain(ledger: Ledger) -> tuple[Record, ...]:
    """The frontier's rows, first to last: each was the best accepted score when it came."""
    return _frontier_rows(ledger.records)


def frontier(ledger: Ledger, at_date: datetime.date, folder: str = "") -> PriorRecord | None:
    """The prior record of a submission; None when nothing stood before it.

    Rows of the same day count as earlier, because the ledger knows days and not hours: the
    stricter reading. A folder that is itself in the ledger, by its name or by the number of its
    pull request, is held against the rows above it, whatever date it names.
    """
    own = [i for i, r in enumerate(ledger.records) if folder in (r.folder, str(r.pr))]
    if own:
        earlier = ledger.records[: own[0]]
    else:
        earlier = tuple(record for record in ledger.records if record.date <= at_date)
    rows = _frontier_rows(earlier)
    if not rows:
        return None
    best, testable = rows[-1], [row for row in rows if _is_testable(row)]
    tested = testable[-1] if testable else None
    return PriorRecord(best=best, tested=tested, note=_seed_note(best, tested))


def comparison_settings(
    profile: Profile,
    family: TokenizerFamily,
    noise: SeedNoise | None = None,
    claimed_std_bpb: float | None = None,
) -> ComparisonSettings:
    """A profile's test for a challenger whose evaluation scores what `family` says."""
    return ComparisonSettings(
        margin_nats_per_token=profile.margin.value,
        num_tokens=family.tokens,
        num_bytes=family.bytes,
        alpha=profile.alpha,
        noise=noise,
        claimed_std_bpb=claimed_std_bpb,
    )


def records_table(ledger: Ledger) -> tuple[LedgerRow, ...]:
    """Every record in the ledger's order, with the figures that follow from its seeds."""
    on_frontier = {row.folder for row in chain(ledger)}
    return tuple(
        LedgerRow(
            record=record,
            mean_bpb=record.mean_bpb,
            std_bpb=record.std_bpb,
            num_seeds=len(record.seeds),
            max_artifact_bytes=max(
                (seed.artifact_bytes for seed in record.seeds if seed.artifact_bytes), default=None
            ),
            on_frontier=record.folder in on_frontier,
        )
        for record in ledger.records
    )


def board(ledger: Ledger, profile: Profile, noise: SeedNoise | None = None) -> tuple[BoardRow, ...]:
    """The board that a profile would have kept, had it been applied from the first day.

    Each frontier row is tested against the row that the profile admitted last. A row with too few
    seeds is never admitted; the first row with enough stands without a test.
    """
    rows: list[BoardRow] = []
    incumbent: Record | None = None
    for record in chain(ledger):
        significance = None
        if incumbent is not None and _is_testable(record):
            settings = comparison_settings(profile, ledger.families[record.family], noise)
            significance = compare_samples(record.seed_bpbs, incumbent.seed_bpbs, settings)
        admitted = significance.passed is True if significance else _is_testable(record)
        rows.append(
            BoardRow(
                record=record,
                prior=incumbent,
                significance=significance,
                admitted=admitted,
                note=None if _is_testable(record) else "one seed: no test can be computed",
            )
        )
        incumbent = record if admitted else incumbent
    return tuple(rows)


def _frontier_rows(records: tuple[Record, ...]) -> tuple[Record, ...]:
    rows: list[Record] = []
    best_bpb = float("inf")
    for record in records:
        if record.status == "accepted" and record.mean_bpb and record.mean_bpb < best_bpb:
            rows.append(record)
            best_bpb = record.mean_bpb
    return tuple(rows)


def _is_testable(record: Record) -> bool:
    return len(record.seeds) >= SEEDS_FOR_A_TEST


def _seed_note(best: Record, tested: Record | None) -> str | None:
    if tested is best:
        return None
    bar = f"{best.name} holds the best score, {best.mean_bpb:.5f}, with one seed"
    if tested is None:
        return f"{bar}; no row before it has two, so no test can be computed"
    return f"{bar}; the test is against {tested.name}, and the mean must beat both"
