"""A chart as PNG, for where no page can be shown; the font is the drawing library's own."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from verifier.reports.charts.marks import FONT_SIZE, Box, Chart, Dot, Label, Line, Mark, Tone

PIXELS = 2
"""A unit of the plane; twice as fine as a screen's point."""
OVERSAMPLING = 2
SCALE = PIXELS * OVERSAMPLING
DASH = (6.0, 4.0)
COMPRESSION = 3
"""Of nine: the rest would take longer than all the drawing and save a third of 40 kB."""
COLOURS: dict[Tone, str] = {
    "ink": "#1b1f24",
    "muted": "#57606a",
    "grid": "#d8dee4",
    "ours": "#0b5cad",
    "prior": "#7a5200",
    "claimed": "#6e7781",
    "limit": "#b3202a",
    "light": "#8fbde8",
    "dark": "#0b5cad",
}
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def draw_png(chart: Chart) -> bytes:
    """The chart on white, the title above it, 960 pixels wide."""
    size = (int(chart.width * SCALE), int(chart.height * SCALE))
    image = Image.new("RGB", size, "white")
    pen = _Pen(ImageDraw.Draw(image))
    for mark in chart.marks:
        pen.draw(mark)
    small = image.resize((size[0] // OVERSAMPLING, size[1] // OVERSAMPLING), Image.Resampling.BOX)
    file = io.BytesIO()
    small.save(file, "PNG", compress_level=COMPRESSION)
    return file.getvalue()


class _Pen:
    """Draws marks onto an image that is finer than the one that is kept."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw
        self._font = ImageFont.load_default(FONT_SIZE * SCALE)

    def draw(self, mark: Mark) -> None:
        match mark:
            case Line():
                self._line(mark)
            case Box():
                edges = (mark.x, mark.y, mark.x + mark.width, mark.y + mark.height)
                self._rectangle(edges, mark.tone, mark.hollow)
            case Dot():
                self._dot(mark)
            case Label():
                self._label(mark)

    def _line(self, line: Line) -> None:
        pieces = _dashes(line.points) if line.dashed else [line.points]
        for piece in pieces:
            scaled = [(x * SCALE, y * SCALE) for x, y in piece]
            width = max(1, round(line.width * SCALE))
            self._draw.line(scaled, fill=COLOURS[line.tone], width=width, joint="curve")

    def _rectangle(
        self, edges: tuple[float, float, float, float], tone: Tone, hollow: bool
    ) -> None:
        scaled = tuple(edge * SCALE for edge in edges)
        if hollow:
            self._draw.rectangle(scaled, outline=COLOURS[tone], width=round(1.5 * SCALE))
        elif scaled[2] > scaled[0]:
            self._draw.rectangle(scaled, fill=COLOURS[tone])

    def _dot(self, dot: Dot) -> None:
        r, colour = dot.radius, COLOURS[dot.tone]
        edges = (dot.x - r, dot.y - r, dot.x + r, dot.y + r)
        scaled = tuple(edge * SCALE for edge in edges)
        if dot.shape == "square":
            self._rectangle(edges, dot.tone, hollow=True)
        elif dot.shape == "cross":
            left, top, right, bottom = scaled
            self._draw.line((left, top, right, bottom), fill=colour, width=2 * SCALE)
            self._draw.line((left, bottom, right, top), fill=colour, width=2 * SCALE)
        elif dot.shape == "ring":
            self._draw.ellipse(scaled, outline=colour, width=round(1.5 * SCALE))
        else:
            self._draw.ellipse(scaled, fill=colour)

    def _label(self, label: Label) -> None:
        self._draw.text(
            (label.x * SCALE, label.y * SCALE),
            label.text,
            fill=COLOURS[label.tone],
            font=self._font,
            anchor=ANCHORS[label.anchor],
            stroke_width=0.4 * SCALE if label.bold else 0,
        )


def _dashes(points: Sequence[tuple[float, float]]) -> list[tuple[tuple[float, float], ...]]:
    """A line cut into the dashes of DASH."""
    dashes = []
    travelled, period = 0.0, sum(DASH)
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        at = -(travelled % period)
        while at < length and length > 0:
            begin, end = max(0.0, at), min(length, at + DASH[0])
            if end > begin:
                dashes.append(
                    tuple(
                        (x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length)
                        for t in (begin, end)
                    )
                )
            at += period
        travelled += length
    return dashes
