"""Charts: what is drawn is what was measured, in SVG and PNG alike."""

import io
from xml.etree import ElementTree

import pytest
from evil_verdicts import verdict
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from verifier.reports.charts.all_charts import make_charts
from verifier.reports.charts.axes import Scale, scale_around, tick_text
from verifier.reports.charts.marks import Box, Chart, Dot, Label, Line
from verifier.reports.charts.png import draw_png
from verifier.reports.charts.svg import draw_svg
from verifier.schemas.learning_json import Learning
from verifier.schemas.run_record_json import ClaimedValues, SeedClaimed

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


def seed(number: int, bpb: float | None = 2.4, **changes: object) -> SeedClaimed:
    stated = SeedClaimed(
        seed=number,
        val_bpb=bpb,
        total_bytes=400_000,
        model_bytes=330_000,
        train_seconds=20.0,
        calibration_seconds=1.0,
        compile_warmup_seconds=None,
        eval_seconds=1.0,
        source="train.log",
        learning=Learning(points=((1, 7.0), (50, 5.0), (100, 4.0)), raw_bpb=2.3, quantised_bpb=2.5),
    )
    return stated.model_copy(update=changes)


def claims(*seeds: SeedClaimed) -> ClaimedValues:
    values = tuple(s.val_bpb for s in seeds if s.val_bpb is not None)
    return ClaimedValues(
        val_bpb=2.4,
        val_bpb_std=None,
        bytes_total=400_000,
        claimed_bpbs=values,
        seeds=seeds,
        date="2026-11-23",
    )


def charts(dossier, *seeds: SeedClaimed) -> dict[str, Chart]:
    made = make_charts(dossier(verdict("x", claims=claims(*seeds))))
    return {chart.name: chart for chart in made}


def test_stages_that_differ_by_their_printing_alone_are_not_drawn(dossier):
    for final, is_drawn in ((2.470513, False), (2.4709, True)):
        stages = Learning(points=(), raw_bpb=None, quantised_bpb=2.4705)
        made = charts(dossier, seed(1, final, learning=stages))
        assert ("stages" in made) == is_drawn


def test_claims_alone_give_every_chart(dossier):
    made = charts(dossier, seed(1), seed(2, 2.5), seed(3, 2.6))
    assert list(made) == ["seeds", "clock", "bytes", "loss", "stages", "frontier", "spreads"]


def test_every_seed_is_a_dot_at_its_score(dossier):
    chart = charts(dossier, seed(1, 2.4), seed(2, 2.5), seed(3, 2.6))["seeds"]
    a, b, c = [mark.x for mark in chart.marks if isinstance(mark, Dot)]
    assert b - a == pytest.approx(c - b) and a < b < c


def test_a_bar_is_as_long_as_its_share_of_the_limit(dossier):
    chart = charts(dossier, seed(1))["clock"]
    loop, calibration, _ = [mark for mark in chart.marks if isinstance(mark, Box)][:3]
    [limit, *_] = [mark for mark in chart.marks if isinstance(mark, Line) and mark.dashed]
    full = limit.points[0][0] - loop.x
    assert loop.width / full == pytest.approx(20 / 120)
    assert calibration.x == pytest.approx(loop.x + loop.width)


@pytest.mark.parametrize(
    "seeds",
    [
        (),
        (seed(1),),
        (seed(1, None),),
        (seed(1, 2.4), seed(2, 2.4)),
        (seed(1, 1e15), seed(2, 1e-9)),
    ],
    ids=["none", "one", "no score", "no spread", "absurd"],
)
def test_odd_claims_are_drawn_or_left_out(dossier, seeds):
    for chart in charts(dossier, *seeds).values():
        ElementTree.fromstring(draw_svg(chart))
        assert chart.description


def test_more_seeds_than_there_is_room_for_are_counted(dossier):
    chart = charts(dossier, *(seed(n) for n in range(50)))["bytes"]
    assert any(isinstance(m, Label) and m.text == "and 42 more seeds" for m in chart.marks)


def test_svg_and_png_show_the_same_drawing(dossier):
    chart = charts(dossier, seed(1), seed(2, 2.5))["seeds"]
    svg = ElementTree.fromstring(draw_svg(chart))
    assert len(svg) == len(chart.marks) + 2
    named = svg.get("aria-labelledby").split()
    assert [element.get("id") for element in svg[:2]] == named and svg[1].text
    image = Image.open(io.BytesIO(draw_png(chart)))
    assert image.size == (960, int(chart.height * 4) // 2)
    assert len(image.getcolors(1 << 20)) > 10


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_a_scale_holds_its_values_and_its_ticks(values):
    scale = scale_around(values, 0, 100)
    assert all(0 <= scale.at(value) <= 100 for value in values)
    assert all(scale.low - 1e-6 * abs(scale.low) <= t for t in scale.ticks())
    assert len(scale.ticks()) <= 21


@given(FINITE, st.floats(1e-6, 1e9))
def test_neighbouring_ticks_have_different_numbers(low, width):
    assume(width > abs(low) * 1e-6)
    ticks = Scale(low=low, high=low + width, start=0, end=1).ticks()
    texts = [tick_text(tick, ticks) for tick in ticks]
    assert abs(low) > 1e8 or len(set(texts)) == len(texts)
