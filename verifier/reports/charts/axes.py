"""Values → places on the plane: scales with round ticks, axes with names and units."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from verifier.reports.charts.marks import CHARACTER_WIDTH, Label, Line, Mark

WIDTH = 480.0
RIGHT = 14.0
TICK_LABEL = 18.0
"""From the axis down to the baseline of its numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A straight map of values onto coordinates."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of a value; one outside is put on the edge."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """Round values within the scale, about `count` of them."""
        step = round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(k * step for k in range(first, min(last, first + 20) + 1))


def scale_around(values: Iterable[float], start: float, end: float, zero: bool = False) -> Scale:
    """A scale that holds all values with a little room; from zero if asked."""
    known = [*values, *([0.0] if zero else [])]
    low, high = min(known), max(known)
    room = (high - low) * 0.06 or abs(high) * 0.02 or 1.0
    return Scale(low=low if zero else low - room, high=high + room, start=start, end=end)


def round_step(step: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * 0.999)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """A tick's number with the decimals that tell it from its neighbours."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    if step >= 1e6 and max(map(abs, ticks)) < 1e9:
        return f"{value / 1e6:g} M"
    if abs(value) >= 1e9 or step < 1e-7:
        return f"{value:.3g}"
    return f"{value:,.{max(0, math.ceil(-math.log10(step) - 1e-9))}f}"


def horizontal_axis(scale: Scale, top: float, bottom: float, name: str) -> list[Mark]:
    """Upright grid lines from `top` to `bottom`, numbers below, the axis's name below those."""
    ticks = scale.ticks()
    marks: list[Mark] = [
        Line(points=((scale.at(t), top), (scale.at(t), bottom)), tone="grid") for t in ticks
    ]
    marks += _numbers(scale, ticks, bottom)
    middle = (scale.start + scale.end) / 2
    return [*marks, Label(x=middle, y=bottom + 38, text=name, tone="muted", anchor="middle")]


def _numbers(scale: Scale, ticks: Sequence[float], bottom: float) -> list[Mark]:
    """Every tick's number, or every other one where they would touch."""
    texts = [tick_text(tick, ticks) for tick in ticks]
    room = (scale.end - scale.start) / max(1, len(ticks))
    every = 1 if max(map(len, texts), default=0) * CHARACTER_WIDTH < room else 2
    return [
        Label(
            x=min(scale.at(tick), WIDTH - len(text) * CHARACTER_WIDTH / 2),
            y=bottom + TICK_LABEL,
            text=text,
            tone="muted",
            anchor="middle",
        )
        for tick, text in list(zip(ticks, texts, strict=True))[::every]
    ]


def vertical_axis(scale: Scale, left: float, right: float, name: str) -> list[Mark]:
    """Level grid lines from `left` to `right`, numbers left of them, the name above."""
    ticks = scale.ticks()
    marks: list[Mark] = []
    for tick in ticks:
        y = scale.at(tick)
        marks.append(Line(points=((left, y), (right, y)), tone="grid"))
        text = tick_text(tick, ticks)
        marks.append(Label(x=left - 6, y=y + 4, text=text, tone="muted", anchor="end"))
    return [*marks, Label(x=4, y=min(scale.start, scale.end) - 10, text=name, tone="muted")]


def limit_line(x: float, top: float, bottom: float, text: str, room_right: float) -> list[Mark]:
    """A dashed upright line with its meaning above it, on the side where there is room."""
    fits = len(text) * CHARACTER_WIDTH < room_right - x
    label = Label(x=x, y=top - 5, text=text, tone="limit", anchor="start" if fits else "end")
    return [Line(points=((x, top), (x, bottom)), tone="limit", width=2.0, dashed=True), label]


def legend(entries: Sequence[tuple[Mark, str]], x: float, y: float) -> list[Mark]:
    """Symbols with their meanings in a row; each symbol is given at the origin of its own."""
    marks: list[Mark] = []
    for symbol, text in entries:
        marks.append(moved(symbol, x, y))
        marks.append(Label(x=x + 26, y=y + 4, text=text, tone="muted"))
        x += 26 + len(text) * CHARACTER_WIDTH + 14
    return marks


def moved(mark: Mark, x: float, y: float) -> Mark:
    """The same mark, its origin at (x, y)."""
    if isinstance(mark, Line):
        return replace(mark, points=tuple((px + x, py + y) for px, py in mark.points))
    return replace(mark, x=mark.x + x, y=mark.y + y)
