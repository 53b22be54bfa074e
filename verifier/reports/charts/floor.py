"""The chart of a floor run: what bets against the script's honesty won, token by token."""

import math

from verifier.reports.charts.axes import (
    RIGHT,
    WIDTH,
    horizontal_axis,
    scale_around,
    vertical_axis,
)
from verifier.reports.charts.marks import Chart, Label, Line, Mark
from verifier.reports.dossier import Dossier

RULE = "below_entropy_floor"


def odds_chart(dossier: Dossier) -> Chart | None:
    """Odds against honesty along the tape; None where no losses of tokens were bet on."""
    floor = dossier.verdict.floor
    if floor is None or len(floor.betting_path) < 2:
        return None
    path = [(tokens, nats / math.log(10)) for tokens, nats in floor.betting_path]
    limit = dossier.rules[RULE].parameters["reject_log10_odds"]
    top, bottom, left = 34.0, 200.0, 54.0
    x = scale_around([tokens for tokens, _ in path], left, WIDTH - RIGHT, zero=True)
    y = scale_around([0.0, limit, *(power for _, power in path)], bottom, top)
    marks: list[Mark] = [
        *vertical_axis(y, left, WIDTH - RIGHT, "odds against honesty (powers of ten)"),
        *horizontal_axis(x, top, bottom, "tokens of the tape"),
        Line(
            points=((left, y.at(limit)), (WIDTH - RIGHT, y.at(limit))),
            tone="limit",
            width=2.0,
            dashed=True,
        ),
        Label(x=left + 6, y=y.at(limit) + 16, text="proof from here on", tone="limit"),
        Line(points=tuple((x.at(t), y.at(power)) for t, power in path), tone="ours", width=1.8),
    ]
    return Chart(
        name="odds",
        title="Bets on every token of a source of known entropy",
        description=(
            f"most won: odds of 10^{max(power for _, power in path):.1f} against honesty in "
            f"{path[-1][0]:,} tokens; at the end 10^{path[-1][1]:.1f}; proof is 10^{limit:g}"
        ),
        height=bottom + 46,
        marks=tuple(marks),
    )
