"""records, board, compare: the ledger and its statistics."""

import json
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from verifier.claims.seed_by_seed import collect_claims
from verifier.commands.options import Options, result_console
from verifier.errors import UsageError
from verifier.intake.submission import load_submission
from verifier.records import ledger as ledger_of
from verifier.records.ledger import BoardRow, LedgerRow
from verifier.records.significance import (
    WELCH,
    ExternalVarianceTest,
    SeedNoise,
    compare_samples,
    external_variance_test,
)
from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.rulebook import DEFAULT_TRACK, Rulebook, load_rulebook, rules_folder
from verifier.runs.journal import Journal
from verifier.schemas.ledger_yaml import Ledger, TokenizerFamily
from verifier.schemas.significance_json import Significance

RECORD_COLUMNS = ("record", "date", "BPB", "std", "seeds", "bytes", "status", "folder")
FIGURE_COLUMNS = ("BPB", "std", "seeds", "bytes")
WIDTH_WITH_FOLDERS = 110


def records(options: Options) -> int:
    """The ledger in order of precedence."""
    rulebook, ledger = _load(options)
    rows = ledger_of.records_table(ledger)
    if options["format_"] == "json":
        for row in rows:
            print(json.dumps(_record_object(row)))
        return 0
    table = Table(box=box.SIMPLE_HEAD, title=rulebook.track.title, title_justify="left")
    table.caption, table.caption_justify = "* on the frontier: the best score when it came", "left"
    console = result_console(options)
    # On a narrow terminal a row is worth more whole than with its folder, which JSON gives.
    columns = RECORD_COLUMNS if console.width >= WIDTH_WITH_FOLDERS else RECORD_COLUMNS[:-1]
    cells = [_record_cells(row) for row in rows]
    for position, column in enumerate(columns):
        justify: JustifyMethod = "right" if column in FIGURE_COLUMNS else "left"
        widest = max(len(row[position]) for row in cells)
        # A long folder is folded; the columns of figures never make room for it.
        table.add_column(
            column,
            justify=justify,
            overflow="fold",
            min_width=None if column in ("record", "folder") else widest,
        )
    for row_cells in cells:
        table.add_row(*row_cells[: len(columns)])
    console.print(table)
    return 0


def board(options: Options) -> int:
    """The board as the profile would have kept it."""
    rulebook, ledger = _load(options)
    profile = rulebook.profile(options["profile"])
    rows = ledger_of.board(ledger, profile, _noise(rulebook))
    if options["format_"] == "json":
        for row in rows:
            print(json.dumps(_board_object(row)))
        return 0
    table = Table(box=box.SIMPLE_HEAD, title=f"profile {profile.id}", title_justify="left")
    for column in ("record", "date", "BPB", "gain", "p-value", "admitted", "note"):
        table.add_column(column, overflow="fold", no_wrap=column not in ("record", "note"))
    for row in rows:
        test = row.significance
        table.add_row(
            row.record.name,
            str(row.record.date),
            figures.bpb(row.record.mean_bpb),
            figures.bpb(test.gain_bpb if test else None),
            figures.p_value(test.p_value if test else None),
            "yes" if row.admitted else "no",
            row.note or "",
        )
    result_console(options).print(table)
    return 0


def compare(challenger: str | None, prior: str | None, options: Options) -> int:
    """Test one sample against another; 0 significant, 1 not, 3 not computable."""
    rulebook, ledger = _load(options)
    names = [name for name in (challenger, prior) if name is not None]
    samples = [("values", _values(text)) for text in options["values"]]
    samples += [_sample(name, ledger) for name in names]
    if len(samples) != 2:
        raise UsageError("compare takes two samples: names, or --values 1.061,1.062 for either")
    profile = rulebook.profile(options["profile"])
    family = _family(names[:1], ledger)
    settings = ledger_of.comparison_settings(profile, family, _noise(rulebook))
    test = compare_samples(samples[0][1], samples[1][1], settings)
    external = external_variance_test(samples[0][1], samples[1][1], settings)
    if options["format_"] == "json":
        print(json.dumps(_comparison_object(test, external)))
    else:
        _print_comparison(samples, test, external, result_console(options))
    return 3 if test.passed is None else 0 if test.passed else 1


def _load(options: Options) -> tuple[Rulebook, Ledger]:
    rulebook = load_rulebook(options["track"] or DEFAULT_TRACK)
    return rulebook, ledger_of.load_ledger(rules_folder() / "records", rulebook.track.id)


def _noise(rulebook: Rulebook) -> SeedNoise:
    track = rulebook.track
    return SeedNoise(
        std_bpb=track.ledger_pooled_std_bpb.value,
        degrees_of_freedom=track.ledger_degrees_of_freedom.value,
    )


def _sample(name: str, ledger: Ledger) -> tuple[str, tuple[float, ...]]:
    """A run directory's measurements, a folder's logs, or a record's seeds."""
    path = Path(name)
    if (path / "evidence.json").is_file():
        seeds = Journal(path).evidence().measurements
        return f"{name} (measured)", tuple(m.val_bpb for m in seeds if m.val_bpb is not None)
    if path.exists():
        logs = collect_claims(load_submission(path)).logs
        return f"{name} (claimed)", tuple(log.val_bpb for log in logs if log.val_bpb is not None)
    record = ledger_of.find_record(ledger, name)
    return record.name, record.seed_bpbs


def _values(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--values {text}: give numbers, such as 1.061,1.062,1.060") from None


def _family(names: list[str], ledger: Ledger) -> TokenizerFamily:
    """The tokenizer family of the first name if it is a record, else the newest record's."""
    known = [r for r in ledger.records if names and names[0].lstrip("pr#") in (str(r.pr), r.folder)]
    return ledger.families[(known or ledger.records[-1:])[0].family]


def _print_comparison(
    samples: list[tuple[str, tuple[float, ...]]],
    test: Significance,
    external: ExternalVarianceTest | None,
    console: Console,
) -> None:
    for role, (name, values) in zip(("challenger", "prior"), samples, strict=True):
        console.print(
            visible(f"{role} {name}: {', '.join(figures.bpb(v) for v in values)}"), markup=False
        )
    lines = [
        f"gain {figures.bpb(test.gain_bpb)} BPB, 95 % interval {figures.bpb(test.ci_low)} to "
        f"{figures.bpb(test.ci_high)}",
        f"margin {test.margin_bpb:.5f} BPB = {test.margin_nats_per_token:g} nats a token",
        f"{WELCH}: p = {figures.p_value(test.p_value)} "
        f"({test.degrees_of_freedom or 0:.1f} df), level {test.alpha:g}",
        f"smallest p of a permutation test with so many seeds: {figures.p_value(test.smallest_p)}",
    ]
    if external:
        word = external.refused or f"p = {figures.p_value(external.p_value)}"
        lines.append(f"with the ledger's deviation {external.std_bpb:.5f}: {word}")
    if test.gain_bpb is not None:
        within = test.gain_bpb <= test.margin_bpb
        enough = "no number, as the gain is within the margin" if within else "over 100"
        needed = test.seeds_for_80_power or enough
        lines.append(f"seeds for 80 % power at this gain and spread: {needed}")
    answer = {True: "SIGNIFICANT", False: "NOT SIGNIFICANT", None: "NOT COMPUTABLE"}[test.passed]
    for line in (*lines, *test.warnings, answer):
        console.print(line, markup=False)


def _comparison_object(
    test: Significance, external: ExternalVarianceTest | None
) -> dict[str, object]:
    told = test.model_dump(exclude={"external_p_value"})
    return {
        "schema_version": 1,
        "test": WELCH,
        **told,
        "external": asdict(external) if external else None,
    }


def _record_cells(row: LedgerRow) -> tuple[str, ...]:
    record = row.record
    return (
        f"{record.name}{' *' if row.on_frontier else ''}",
        str(record.date),
        figures.bpb(row.mean_bpb),
        figures.bpb(row.std_bpb),
        str(row.num_seeds),
        figures.whole(row.max_artifact_bytes),
        record.status,
        record.folder,
    )


def _board_object(row: BoardRow) -> dict[str, object]:
    test = row.significance
    return {
        "record": row.record.name,
        "prior": row.prior.name if row.prior else None,
        "date": str(row.record.date),
        "mean_bpb": row.record.mean_bpb,
        "gain_bpb": test.gain_bpb if test else None,
        "p_value": test.p_value if test else None,
        "admitted": row.admitted,
        "note": row.note,
    }


def _record_object(row: LedgerRow) -> dict[str, object]:
    return {
        "record": row.record.model_dump(mode="json"),
        "mean_bpb": row.mean_bpb,
        "std_bpb": row.std_bpb,
        "on_frontier": row.on_frontier,
    }
