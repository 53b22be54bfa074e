"""Charts of a submission's scores: the seeds beside the prior record, and the stages of packing."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from verifier.records.significance import mean_interval
from verifier.reports import figures
from verifier.reports.charts.axes import (
    RIGHT,
    WIDTH,
    Scale,
    horizontal_axis,
    legend,
    limit_line,
    scale_around,
    vertical_axis,
)
from verifier.reports.charts.marks import Chart, Dot, Label, Line, Mark, Shape, Tone
from verifier.reports.dossier import Dossier
from verifier.schemas.significance_json import SignificanceRecord

MEASURED, CLAIMED = "measured here", "claimed"
ROW = 34.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """Scores that belong together, in BPB."""

    name: str
    values: tuple[float, ...]
    tone: Tone
    shape: Shape


def seeds_chart(dossier: Dossier) -> Chart | None:
    """Every seed's score beside the prior record's, with 95 % intervals of the means."""
    samples = _samples(dossier)
    if not any(sample.tone != "prior" for sample in samples):
        return None
    test = dossier.verdict.significance
    bar = _bar(test)
    intervals = [mean_interval(sample.values) for sample in samples]
    ends = [end for interval in intervals if interval for end in interval]
    values = [value for sample in samples for value in sample.values]
    scale = scale_around([*values, *ends, *([bar] if bar else [])], 130, WIDTH - RIGHT)
    top, bottom = 30.0, 30.0 + ROW * len(samples)
    marks = horizontal_axis(scale, top, bottom, "bits per byte (BPB); lower is better")
    if bar is not None:
        marks += limit_line(scale.at(bar), top, bottom, "mean must lie left of this", WIDTH)
    for row, (sample, interval) in enumerate(zip(samples, intervals, strict=True)):
        marks += _sample_row(sample, interval, scale, top + ROW * (row + 0.5))
    return Chart(
        name="seeds",
        title="Score of every seed",
        description=_seeds_text(samples, bar),
        height=bottom + 48,
        marks=tuple(marks),
    )


def _samples(dossier: Dossier) -> list[_Sample]:
    verdict, test = dossier.verdict, dossier.verdict.significance
    measured = tuple(m.val_bpb for m in verdict.measurements if m.val_bpb is not None)
    samples = [
        _Sample(name=MEASURED, values=measured, tone="ours", shape="disc"),
        _Sample(name=CLAIMED, values=verdict.claims.claimed_bpbs, tone="claimed", shape="square"),
    ]
    if test is not None:
        name = f"prior: {test.prior}" if len(test.prior) < 12 else "prior record"
        samples.append(_Sample(name=name, values=test.prior_bpb, tone="prior", shape="ring"))
    return [sample for sample in samples if sample.values]


def _bar(test: SignificanceRecord | None) -> float | None:
    """The score that a mean must stay below: the prior record's mean less the margin."""
    if test is None or not test.prior_bpb:
        return None
    return fmean(test.prior_bpb) - test.margin_bpb


def _sample_row(
    sample: _Sample, interval: tuple[float, float] | None, scale: Scale, y: float
) -> list[Mark]:
    marks: list[Mark] = [Label(x=120, y=y + 4, text=sample.name, anchor="end")]
    if interval is not None:
        low, high = (scale.at(end) for end in interval)
        marks.append(Line(points=((low, y), (high, y)), tone=sample.tone, width=2.0))
        marks += [
            Line(points=((x, y - 6), (x, y + 6)), tone=sample.tone, width=2.0) for x in (low, high)
        ]
    mean = scale.at(fmean(sample.values))
    marks.append(Line(points=((mean, y - 11), (mean, y + 11)), tone=sample.tone, width=3.0))
    return marks + [
        Dot(x=scale.at(value), y=y, tone=sample.tone, shape=sample.shape) for value in sample.values
    ]


def _seeds_text(samples: Sequence[_Sample], bar: float | None) -> str:
    told = [
        f"{sample.name}: mean {figures.bpb(fmean(sample.values))} BPB over "
        f"{len(sample.values)} seed{'s' * (len(sample.values) != 1)} "
        f"({', '.join(map(figures.bpb, sample.values[:10]))})"
        for sample in samples
    ]
    told += [f"the mean must lie below {figures.bpb(bar)} BPB"] if bar is not None else []
    return "; ".join(told) + ". Bars are 95 % intervals of the mean."


STAGES = ("before quantisation", "quantised", "final")
MIN_MOVE_BPB = 1e-4
"""Logs print four decimals: what differs by less may be their rounding."""


def stages_chart(dossier: Dossier) -> Chart | None:
    """What quantisation costs and what evaluation wins back, seed by seed."""
    verdict = dossier.verdict
    rows: list[tuple[Tone, tuple[float | None, ...]]] = [
        ("ours", (m.learning.raw_bpb, m.learning.quantised_bpb, m.val_bpb))
        for m in verdict.measurements
        if m.learning
    ]
    rows += [
        ("claimed", (s.learning.raw_bpb, s.learning.quantised_bpb, s.val_bpb))
        for s in verdict.claims.seeds
        if s.learning
    ]
    told = [(tone, row) for tone, row in rows if _moves(row)]
    if not told:
        return None
    top, bottom = 40.0, 210.0
    known = [value for _, row in told for value in row if value is not None]
    scale = scale_around(known, bottom, top)
    marks = vertical_axis(scale, 66, WIDTH - RIGHT, "bits per byte (BPB)")
    places = (120.0, 265.0, 410.0)
    for x, stage in zip(places, STAGES, strict=True):
        marks.append(Label(x=x, y=bottom + 22, text=stage, tone="muted", anchor="middle"))
    for tone, row in reversed(told):
        marks += _stage_line(tone, row, places, scale)
    marks += origin_legend({tone for tone, _ in told}, 66, bottom + 48)
    return Chart(
        name="stages",
        title="Score before quantisation, after it, and as handed in",
        description="; ".join(
            f"{MEASURED if tone == 'ours' else CLAIMED}: "
            + ", ".join(f"{s} {figures.bpb(v)}" for s, v in zip(STAGES, row, strict=True))
            for tone, row in told
        ),
        height=bottom + 64,
        marks=tuple(marks),
    )


def _moves(row: Sequence[float | None]) -> bool:
    """Whether any stage differs by more than the rounding of logs: else there is nothing to see."""
    known = [value for value in row if value is not None]
    return max(known, default=0.0) - min(known, default=0.0) > MIN_MOVE_BPB


def _stage_line(
    tone: Tone, row: tuple[float | None, ...], places: Sequence[float], scale: Scale
) -> list[Mark]:
    shape: Shape = "disc" if tone == "ours" else "square"
    points = tuple((x, scale.at(v)) for x, v in zip(places, row, strict=True) if v is not None)
    line = Line(points=points, tone=tone, width=1.5, dashed=tone == "claimed")
    return [line, *(Dot(x=x, y=y, tone=tone, shape=shape, radius=4) for x, y in points)]


def origin_legend(tones: set[Tone], x: float, y: float) -> list[Mark]:
    """What full and dashed lines stand for, as far as they occur."""
    entries: list[tuple[Mark, str]] = []
    if "ours" in tones:
        entries.append((Line(points=((0, 0), (20, 0)), tone="ours", width=2.0), MEASURED))
    if "claimed" in tones:
        sample = Line(points=((0, 0), (20, 0)), tone="claimed", width=2.0, dashed=True)
        entries.append((sample, CLAIMED))
    return legend(entries, x, y)
