from dataclasses import replace

import pytest

from trainer.planning.artifact_size import predict_artifact
from trainer.planning.total_size import (
    cap_warning,
    describe_artifact,
    describe_total,
    predict_fitted,
    track_cap_bytes,
)
from trainer.recipe_checks import build_recipe
from trainer.recipe_file import load_recipe


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pr60", "give or take 1%; "),
        pytest.param(
            "pr1218",
            "at most, as the last weights would take that, and averaged ones spread less",
            marks=pytest.mark.slow,
        ),
        ("pr1787", "after some hundred steps, whatever the rates"),
    ],
)
def test_the_plan_says_what_its_figure_hangs_on(name, words):
    recipe = load_recipe(name, {}).recipe
    assert words in describe_artifact(predict_artifact(recipe), recipe, 16_000_000)


def test_the_cap_is_the_tracks():
    assert track_cap_bytes("10min_16mb") == 16_000_000
    recipe = load_recipe("demo", {}).recipe
    text = describe_artifact(predict_artifact(recipe), recipe, track_cap_bytes("demo"))
    assert "of the track's cap of 500,000" in text


def test_a_cap_that_will_break_is_said_before_training():
    recipe = load_recipe("demo", {}).recipe
    assert cap_warning(recipe, code_bytes=90_000, cap_bytes=500_000) is None
    warning = cap_warning(recipe, code_bytes=90_000, cap_bytes=400_000)
    assert "over the track's cap of 400,000: --packed, or lower model.num_layers" in warning
    by_law = cap_warning(load_recipe("pr1886", {}).recipe, code_bytes=90_000, cap_bytes=16_000_000)
    assert "--set quantization.fit_total_bytes=16000000" in by_law


def test_what_is_fitted_is_foretold_with_its_script_and_not_warned_of():
    recipe = load_recipe("pr1855", {}).recipe
    deep = replace(recipe, model=replace(recipe.model, num_layers=14, parallel_start_layer=9))
    for which, code_bytes in ((deep, 50_000), (recipe, 50_000), (recipe, 250_000)):
        fitted = predict_fitted(which, code_bytes)
        assert 0 <= 16_000_000 - fitted.num_bytes - code_bytes < 0.002 * 16_000_000
    text = describe_total(recipe, 0, 250_000, 16_000_000)
    assert f"all clips x {fitted.clip_factor:.4f}" in text and "under the cap" in text
    assert cap_warning(recipe, code_bytes=90_000, cap_bytes=16_000_000) is None
    assert cap_warning(recipe, code_bytes=90_000, cap_bytes=15_000_000) is not None


def test_a_total_over_the_cap_is_said_in_bytes():
    text = describe_total(load_recipe("pr1886", {}).recipe, 900_000, 200_001, 1_000_000)
    assert text == "1,100,001 with 900,000 of artifact: 100,001 over the cap"


def test_the_cap_itself_is_kept_to_and_one_byte_more_is_not():
    recipe = load_recipe("pr1886", {}).recipe
    predicted = predict_artifact(recipe).num_bytes
    rests = [16_000_000 - predicted + more for more in (0, 1)]
    assert describe_total(recipe, predicted, rests[0], 16_000_000).endswith(" 0 under the cap")
    assert describe_total(recipe, predicted, rests[1], 16_000_000).endswith(" 1 over the cap")
    warnings = [cap_warning(recipe, rest, 16_000_000) for rest in rests]
    assert warnings[0] is None and "which only training will tell for certain" in warnings[1]


def test_a_total_that_no_clips_lead_to_is_said_before_training(tiny_settings):
    options = {"quantization.gptq_enabled": True, "quantization.fit_total_bytes": 60_000}
    tiny = build_recipe(tiny_settings | options)
    assert cap_warning(tiny, code_bytes=20_000, cap_bytes=60_000) is None
    assert "--packed, or lower" in cap_warning(tiny, code_bytes=59_000, cap_bytes=60_000)
