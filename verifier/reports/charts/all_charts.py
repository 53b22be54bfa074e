"""Every chart that a dossier has figures for, in the order of the page."""

from verifier.reports.charts.costs import bytes_chart, clock_chart
from verifier.reports.charts.floor import odds_chart
from verifier.reports.charts.marks import Chart
from verifier.reports.charts.records import frontier_chart, spreads_chart
from verifier.reports.charts.scores import seeds_chart, stages_chart
from verifier.reports.charts.training import loss_chart
from verifier.reports.dossier import Dossier

CHARTS = (
    seeds_chart,
    clock_chart,
    bytes_chart,
    loss_chart,
    stages_chart,
    frontier_chart,
    spreads_chart,
    odds_chart,
)


def make_charts(dossier: Dossier) -> tuple[Chart, ...]:
    """The charts that can be drawn; one without figures is left out."""
    drawn = (make(dossier) for make in CHARTS)
    return tuple(chart for chart in drawn if chart is not None)
