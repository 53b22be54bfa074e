"""records and board: the ledger as tables."""

import json

from rich import box
from rich.console import JustifyMethod
from rich.table import Table

from verifier.commands.options import Options, result_console
from verifier.records import ledger as ledger_of
from verifier.records.comparison_settings import SeedNoise
from verifier.records.ledger import BoardRow, LedgerRow
from verifier.reports import figures
from verifier.rulebook import DEFAULT_TRACK, Rulebook, load_rulebook, rules_folder
from verifier.schemas.ledger_yaml import Ledger

RECORD_COLUMNS = ("record", "date", "BPB", "std", "seeds", "bytes", "status", "folder")
FIGURE_COLUMNS = ("BPB", "std", "seeds", "bytes")
WIDTH_WITH_FOLDERS = 110


def records(options: Options) -> int:
    """The ledger in order of precedence."""
    rulebook, ledger = load_with_ledger(options)
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
    rulebook, ledger = load_with_ledger(options)
    profile = rulebook.profile(options["profile"])
    rows = ledger_of.board(ledger, profile, seed_noise(rulebook))
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


def load_with_ledger(options: Options) -> tuple[Rulebook, Ledger]:
    """The rules of the track that was asked for, and its ledger."""
    rulebook = load_rulebook(options["track"] or DEFAULT_TRACK)
    return rulebook, ledger_of.load_ledger(rules_folder() / "records", rulebook.track.id)


def seed_noise(rulebook: Rulebook) -> SeedNoise:
    """How far apart the track's records say that seeds lie."""
    track = rulebook.track
    return SeedNoise(
        std_bpb=track.ledger_pooled_std_bpb.value,
        degrees_of_freedom=track.ledger_degrees_of_freedom.value,
    )


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
