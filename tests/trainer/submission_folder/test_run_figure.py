from xml.etree import ElementTree

from trainer.submission_folder.metrics import StepMetrics
from trainer.submission_folder.run_figure import PANELS, draw_run

SVG = "{http://www.w3.org/2000/svg}"


def step(seed, number, loss):
    return StepMetrics(
        seed=seed,
        step=number,
        train_loss=loss,
        train_seconds=number / 10,
        step_ms=100.0,
        learning_rate_scale=1 - number / 100,
    )


def drawn(metrics):
    return ElementTree.fromstring(draw_run(metrics, 'a <"title"> & more'))


def test_every_panel_has_a_labelled_axis_and_a_line_a_seed():
    figure = drawn([step(seed, number, 7 - number / 20) for seed in (1, 2) for number in (1, 50)])
    texts = [text.text for text in figure.iter(SVG + "text")]
    assert {panel.label for panel in PANELS} | {"seed 1", "seed 2", "step"} <= set(texts)
    lines = list(figure.iter(SVG + "polyline"))
    assert len(lines) == 2 * len(PANELS)
    assert len({line.get("stroke-dasharray") for line in lines}) == 2
    assert {line.get("stroke") for line in lines} == {"black"}


def test_points_stay_inside_the_frame():
    figure = drawn([step(1, number, loss) for number, loss in ((1, 9.0), (7, 2.0), (50, 3.5))])
    frames = [r for r in figure.iter(SVG + "rect") if r.get("fill") == "none"]
    for frame, line in zip(frames, figure.iter(SVG + "polyline"), strict=True):
        top, height = float(frame.get("y")), float(frame.get("height"))
        heights = [float(point.split(",")[1]) for point in line.get("points").split()]
        assert top - 0.1 <= min(heights) and max(heights) <= top + height + 0.1


def test_no_steps_and_equal_values_draw_too():
    assert len(list(drawn([]).iter(SVG + "polyline"))) == 0
    assert len(list(drawn([step(1, 5, 3.0)]).iter(SVG + "polyline"))) == len(PANELS)
