"""The chart of training: the loss of all seeds, claimed and measured, on one axis."""

from dataclasses import dataclass

from verifier.reports.charts.axes import (
    RIGHT,
    WIDTH,
    horizontal_axis,
    scale_around,
    vertical_axis,
)
from verifier.reports.charts.marks import Chart, Line, Tone
from verifier.reports.charts.scores import CLAIMED, MEASURED, origin_legend
from verifier.reports.dossier import Dossier

FIRST_SHARE = 0.02
"""The first steps fall so far that they would flatten all the others: they are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Curve:
    """One seed's loss; points are (step, nats a token)."""

    name: str
    points: tuple[tuple[int, float], ...]
    tone: Tone


def loss_chart(dossier: Dossier) -> Chart | None:
    """Training loss by step; None where no log tells two points."""
    curves = [curve for curve in _curves(dossier) if len(curve.points) > 1]
    if not curves:
        return None
    top, bottom, left = 34.0, 220.0, 54.0
    x = scale_around([s for c in curves for s, _ in c.points], left, WIDTH - RIGHT, zero=True)
    y = scale_around([loss for c in curves for _, loss in c.points], bottom, top)
    marks = [
        *vertical_axis(y, left, WIDTH - RIGHT, "training loss (nats a token)"),
        *horizontal_axis(x, top, bottom, "step"),
    ]
    for curve in curves:
        points = tuple((x.at(step), y.at(loss)) for step, loss in curve.points)
        is_claimed = curve.tone == "claimed"
        marks.append(Line(points=points, tone=curve.tone, width=1.6, dashed=is_claimed))
    marks += origin_legend({curve.tone for curve in curves}, left, bottom + 60)
    return Chart(
        name="loss",
        title="Training loss",
        description="; ".join(
            f"{curve.name}: {curve.points[-1][1]:.3f} nats a token at step {curve.points[-1][0]:,}"
            for curve in curves
        )
        + f". The first {FIRST_SHARE:.0%} of the steps are not drawn.",
        height=bottom + 74,
        marks=tuple(marks),
    )


def _curves(dossier: Dossier) -> list[_Curve]:
    claimed = [
        _Curve(name=f"{CLAIMED} {s.seed}", points=_late(s.learning.points), tone="claimed")
        for s in dossier.verdict.claims.seeds
        if s.learning
    ]
    measured = [
        _Curve(name=f"{MEASURED} {m.seed}", points=_late(m.learning.points), tone="ours")
        for m in dossier.verdict.measurements
        if m.learning
    ]
    return claimed + measured


def _late(points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    if not points:
        return ()
    first = points[-1][0] * FIRST_SHARE
    return tuple(point for point in points if point[0] >= first)
