"""A run as a picture: loss, learning rate and step time over the steps, as SVG.

Seeds differ by dash, not by colour, so that it reads in grey.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from trainer.submission_folder.metrics import StepMetrics

WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 760, 170, 90, 46, 34  # pixels
RIGHT = 20
DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 2")
NUM_TICKS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One of the curves, with a vertical axis of its own."""

    label: str
    value: Callable[[StepMetrics], float]
    starts_at_zero: bool


PANELS = (
    Panel(label="loss (nats a token)", value=lambda one: one.train_loss, starts_at_zero=False),
    Panel(
        label="learning rate (of its peak)",
        value=lambda one: one.learning_rate_scale,
        starts_at_zero=True,
    ),
    Panel(label="step time (ms)", value=lambda one: one.step_ms, starts_at_zero=True),
)


def draw_run(metrics: Sequence[StepMetrics], title: str) -> str:
    """The figure; the same bytes for the same metrics."""
    height = TOP + len(PANELS) * (PANEL_HEIGHT + GAP) + 20
    last_step = max((one.step for one in metrics), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
        *draw_legend(list(dict.fromkeys(one.seed for one in metrics))),
    ]
    for index, panel in enumerate(PANELS):
        parts += draw_panel(panel, metrics, TOP + index * (PANEL_HEIGHT + GAP), last_step)
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{height - 8}" '
        'text-anchor="middle">step</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_legend(seeds: Sequence[int]) -> Iterator[str]:
    """Which dash is which seed."""
    for index, seed in enumerate(seeds):
        x = LEFT + 110 * index
        yield _line((x, 34), (x + 28, 34), DASHES[index % len(DASHES)])
        yield f'<text x="{x + 34}" y="38">seed {seed}</text>'


def draw_panel(
    panel: Panel, metrics: Sequence[StepMetrics], top: int, last_step: int
) -> Iterator[str]:
    """A frame with ticks and a line for each seed."""
    values = [panel.value(one) for one in metrics] or [0.0]
    low = 0.0 if panel.starts_at_zero else min(values)
    high = max(max(values), low + 1e-9)
    bottom, right = top + PANEL_HEIGHT, WIDTH - RIGHT

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + (right - LEFT) * step / last_step
        return across, bottom - PANEL_HEIGHT * (value - low) / (high - low)

    yield (
        f'<rect x="{LEFT}" y="{top}" width="{right - LEFT}" height="{PANEL_HEIGHT}" '
        'fill="none" stroke="#888"/>'
    )
    yield (
        f'<text transform="translate(16 {top + PANEL_HEIGHT / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(panel.label)}</text>'
    )
    for tick in range(NUM_TICKS):
        share = tick / (NUM_TICKS - 1)
        value, step = low + share * (high - low), share * last_step
        x, y = place(step, value)
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{step:.0f}</text>'
        yield _line((LEFT, y), (right, y), "", "#ddd")
    for index, seed in enumerate(dict.fromkeys(one.seed for one in metrics)):
        points = " ".join(
            "{:.1f},{:.1f}".format(*place(one.step, panel.value(one)))
            for one in metrics
            if one.seed == seed
        )
        yield (
            f'<polyline points="{points}" fill="none" stroke="black" stroke-width="1.4" '
            f'stroke-dasharray="{DASHES[index % len(DASHES)]}"/>'
        )


def _line(
    start: tuple[float, float], end: tuple[float, float], dash: str, color: str = "black"
) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{color}" stroke-dasharray="{dash}"/>'
    )
