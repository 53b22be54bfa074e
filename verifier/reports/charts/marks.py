"""What a chart is made of: lines, boxes, dots and labels on a plane whose y grows downwards."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["ink", "muted", "grid", "ours", "prior", "claimed", "limit", "light", "dark"]
"""What a mark stands for; renderers give it a colour. Apart in grey by lightness, shape or dash."""
Shape = Literal["disc", "ring", "square", "cross"]
Anchor = Literal["start", "middle", "end"]

FONT_SIZE = 13.0
CHARACTER_WIDTH = 0.56 * FONT_SIZE
"""About the mean width of a character of a sans-serif font."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An open line through points."""

    points: tuple[tuple[float, float], ...]
    tone: Tone
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """An upright rectangle, filled unless hollow."""

    x: float
    y: float
    width: float
    height: float
    tone: Tone
    hollow: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """A small symbol about a point."""

    x: float
    y: float
    tone: Tone
    shape: Shape = "disc"
    radius: float = 4.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """One line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    tone: Tone = "ink"
    anchor: Anchor = "start"
    bold: bool = False


Mark = Line | Box | Dot | Label


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A drawing with what a reader who cannot see it is told."""

    name: str
    """The stem of its file, and its id in the page."""
    title: str
    description: str
    """The same figures in words."""
    height: float
    marks: tuple[Mark, ...]
    width: float = 480.0
