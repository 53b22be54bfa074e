"""Charts of a submission among the records: the frontier over time, the spread of seeds."""

import datetime
from collections.abc import Sequence
from statistics import fmean, stdev

from verifier.records.ledger import chain
from verifier.reports import figures
from verifier.reports.charts.axes import (
    RIGHT,
    WIDTH,
    Scale,
    horizontal_axis,
    legend,
    scale_around,
    vertical_axis,
)
from verifier.reports.charts.marks import Chart, Dot, Label, Line, Mark, Shape, Tone
from verifier.reports.charts.scores import CLAIMED, MEASURED
from verifier.reports.dossier import Dossier
from verifier.schemas.ledger_yaml import Ledger


def frontier_chart(dossier: Dossier) -> Chart | None:
    """The ledger's records over time, the frontier through them, and this submission among them."""
    own, ledger = _own_point(dossier), dossier.ledger
    records = [r for r in ledger.records if r.mean_bpb is not None] if ledger else []
    if own is None or ledger is None or not records:
        return None
    date, bpb, is_measured = own
    days = [r.date.toordinal() for r in records]
    top, bottom, left = 40.0, 210.0, 66.0
    x = scale_around([*days, date.toordinal()], left, WIDTH - RIGHT)
    y = scale_around([bpb, *(r.mean_bpb for r in records if r.mean_bpb)], bottom, top)
    marks = vertical_axis(y, left, WIDTH - RIGHT, "bits per byte (BPB)")
    marks += _date_labels(min(days), max(*days, date.toordinal()), x, bottom)
    marks += [
        Dot(x=x.at(r.date.toordinal()), y=y.at(r.mean_bpb), tone="muted", shape="ring", radius=3)
        for r in records
        if r.mean_bpb
    ]
    marks.append(_frontier_line(ledger, x, y))
    place = (x.at(date.toordinal()), y.at(bpb))
    shape: Shape = "disc" if is_measured else "square"
    marks.append(Dot(x=place[0], y=place[1], tone="limit", shape=shape, radius=7))
    said = MEASURED if is_measured else CLAIMED
    symbol = Dot(x=10, y=0, tone="limit", shape=shape, radius=6)
    line = Line(points=((0, 0), (20, 0)), tone="prior", width=2.0)
    other = Dot(x=10, y=0, tone="muted", shape="ring", radius=3)
    entries: list[tuple[Mark, str]] = [
        (symbol, f"this one, {said}"),
        (line, "frontier"),
        (other, "records"),
    ]
    marks += legend(entries, left, bottom + 48)
    return Chart(
        name="frontier",
        title="The records over time",
        description=f"This submission of {date}: {figures.bpb(bpb)} BPB, {said}. "
        f"{_frontier_text(ledger)} Rings are records, on the frontier or not.",
        height=bottom + 64,
        marks=tuple(marks),
    )


def _frontier_text(ledger: Ledger) -> str:
    rows = chain(ledger)
    if not rows:
        return "No record stands."
    first, last = (f"{figures.bpb(row.mean_bpb)} ({row.date})" for row in (rows[0], rows[-1]))
    if len(rows) == 1:
        return f"The only record stands at {first}."
    return f"The frontier goes from {first} to {last}; records on it: {len(rows)}."


def _own_point(dossier: Dossier) -> tuple[datetime.date, float, bool] | None:
    """Date, mean score, and whether we measured it."""
    verdict = dossier.verdict
    date = verdict.claims.date
    measured = [m.val_bpb for m in verdict.measurements if m.val_bpb is not None]
    bpb = fmean(measured) if measured else verdict.claims.val_bpb
    return None if date is None or bpb is None else (date, bpb, bool(measured))


def _frontier_line(ledger: Ledger, x: Scale, y: Scale) -> Line:
    """Steps down: a record stands until the next one."""
    points: list[tuple[float, float]] = []
    for record in chain(ledger):
        if record.mean_bpb is not None:
            place = (x.at(record.date.toordinal()), y.at(record.mean_bpb))
            points += [(place[0], points[-1][1])] if points else []
            points.append(place)
    points += [(x.end, points[-1][1])] if points else []
    return Line(points=tuple(points), tone="prior", width=2.0)


def _date_labels(first: int, last: int, x: Scale, bottom: float) -> list[Mark]:
    days = sorted({first, (first + last) // 2, last})
    return [
        Label(
            x=x.at(day),
            y=bottom + 22,
            text=datetime.date.fromordinal(day).isoformat(),
            tone="muted",
            anchor="end"
            if day == last and len(days) > 1
            else "start"
            if day == first
            else "middle",
        )
        for day in days
    ]


def spreads_chart(dossier: Dossier) -> Chart | None:
    """The deviation over this submission's seeds among those of the records."""
    own = _own_spreads(dossier)
    records = dossier.ledger.records if dossier.ledger else ()
    spreads = sorted(r.std_bpb * 1e3 for r in records if r.std_bpb)
    if not own or not spreads:
        return None
    top, bottom = 34.0 + 18 * len(own), 170.0
    scale = scale_around([*spreads, *(value for _, value, _ in own)], 30, WIDTH - RIGHT, zero=True)
    marks = horizontal_axis(
        scale, top, bottom, "sample standard deviation over seeds, thousandths of a BPB"
    )
    heights: dict[int, int] = {}
    for spread in spreads:
        column = int(scale.at(spread) / 9)
        heights[column] = heights.get(column, 0) + 1
        y = bottom - 8 - 9 * (heights[column] - 1)
        marks.append(Dot(x=column * 9 + 4.5, y=y, tone="prior", shape="ring", radius=3.5))
    is_right = max(scale.at(value) for _, value, _ in own) > WIDTH / 2
    # So ordered, no line runs through the name of another.
    for row, (name, value, tone) in enumerate(sorted(own, key=lambda o: o[1], reverse=is_right)):
        x, y = scale.at(value), 30.0 + 18 * row
        marks.append(Line(points=((x, y - 10), (x, bottom)), tone=tone, width=2.5))
        text = f"{name}: {value:.2f}"
        if is_right and x > WIDTH / 3:
            marks.append(Label(x=x - 6, y=y, text=text, anchor="end"))
        else:
            marks.append(Label(x=x + 6, y=y, text=text))
    return Chart(
        name="spreads",
        title="The spread over seeds among the records",
        description="; ".join(f"{name}: {value:.3f} thousandths of a BPB" for name, value, _ in own)
        + f". {_spreads_text(spreads)}",
        height=bottom + 48,
        marks=tuple(marks),
    )


def _spreads_text(spreads: Sequence[float]) -> str:
    """The deviations of records in words, the least of them first."""
    if len(spreads) == 1:
        return f"The one record of the ledger, a ring: {spreads[0]:.3f}."
    return (
        f"Records of the ledger, a ring each: {len(spreads)}, from {spreads[0]:.3f} to "
        f"{spreads[-1]:.3f}, half of them below {spreads[len(spreads) // 2]:.3f}."
    )


def _own_spreads(dossier: Dossier) -> list[tuple[str, float, Tone]]:
    verdict = dossier.verdict
    measured = [m.val_bpb for m in verdict.measurements if m.val_bpb is not None]
    samples: list[tuple[str, Sequence[float], Tone]] = [
        (MEASURED, measured, "ours"),
        (CLAIMED, verdict.claims.claimed_bpbs, "claimed"),
    ]
    return [(name, stdev(v) * 1e3, tone) for name, v, tone in samples if len(v) > 1]
