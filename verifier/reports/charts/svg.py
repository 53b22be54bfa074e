"""A chart as inline SVG; its colours are the page's, by class, so that no style stands in it."""

from functools import singledispatch
from html import escape

from verifier.reports.charts.marks import Box, Chart, Dot, Label, Line, Mark


def draw_svg(chart: Chart) -> str:
    """An `<svg>` element with a title and a description for who cannot see it."""
    names = f"{chart.name}-title {chart.name}-text"
    return (
        f'<svg role="img" aria-labelledby="{names}" viewBox="0 0 {_n(chart.width)} '
        f'{_n(chart.height)}"><title id="{chart.name}-title">{escape(chart.title)}</title>'
        f'<desc id="{chart.name}-text">{escape(chart.description)}</desc>'
        f"{''.join(_element(mark) for mark in chart.marks)}</svg>"
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@singledispatch
def _element(mark: Mark) -> str:
    raise TypeError(f"no mark: {mark!r}")


@_element.register
def _line(mark: Line) -> str:
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in mark.points)
    dash = ' stroke-dasharray="6 4"' if mark.dashed else ""
    return (
        f'<polyline class="{mark.tone}" points="{points}" fill="none" stroke="currentColor" '
        f'stroke-width="{_n(mark.width)}"{dash}/>'
    )


@_element.register
def _box(mark: Box) -> str:
    paint = 'fill="currentColor"'
    if mark.hollow:
        paint = 'fill="none" stroke="currentColor" stroke-width="1.5"'
    return (
        f'<rect class="{mark.tone}" x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}" '
        f'height="{_n(mark.height)}" {paint}/>'
    )


@_element.register
def _dot(mark: Dot) -> str:
    x, y, r = mark.x, mark.y, mark.radius
    if mark.shape == "square":
        side = 2 * r
        return _box(Box(x=x - r, y=y - r, width=side, height=side, tone=mark.tone, hollow=True))
    if mark.shape == "cross":
        path = f"M{_n(x - r)} {_n(y - r)}L{_n(x + r)} {_n(y + r)}"
        path += f"M{_n(x - r)} {_n(y + r)}L{_n(x + r)} {_n(y - r)}"
        return f'<path class="{mark.tone}" d="{path}" stroke="currentColor" stroke-width="2"/>'
    paint = 'fill="currentColor"'
    if mark.shape == "ring":
        paint = 'fill="none" stroke="currentColor" stroke-width="1.5"'
    return f'<circle class="{mark.tone}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(r)}" {paint}/>'


@_element.register
def _label(mark: Label) -> str:
    weight = ' font-weight="600"' if mark.bold else ""
    return (
        f'<text class="{mark.tone}" x="{_n(mark.x)}" y="{_n(mark.y)}" '
        f'text-anchor="{mark.anchor}" fill="currentColor"{weight}>{escape(mark.text)}</text>'
    )
