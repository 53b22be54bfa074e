from pathlib import Path

import pytest

from trainer.errors import RecipeError
from trainer.recipe_file import (
    command_changes,
    environment_changes,
    load_recipe,
    read_lineage,
    recipe_names,
)


def write(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_every_shipped_recipe_loads_and_says_how_it_is_launched():
    names = recipe_names()
    ladder = ["pr42", "pr50", "pr52", "pr60", "pr61_v1", "pr61_v2", "pr63", "pr65", "pr77"]
    modern = ["pr1218", "pr1394", "pr1493", "pr1530", "pr1787", "pr1855", "pr1886"]
    assert names == sorted(["baseline", "best", "demo", "demo_baseline", *ladder, *modern])
    for name in names:
        resolved = load_recipe(name, {})
        assert resolved.what and resolved.track
        assert read_lineage(name)[0].launch.startswith(f"pgolf-train {name} ")


def test_a_child_overrides_its_parent_and_keeps_the_rest(tmp_path):
    path = write(tmp_path, "extends: baseline\nwhat: wider\nmodel:\n  model_dim: 768\n")
    recipe = load_recipe(path, {}).recipe
    assert (recipe.model.model_dim, recipe.model.num_layers) == (768, 9)


def test_changes_by_hand_win_by_path_and_by_public_name():
    changes = {"NUM_LAYERS": ("--set", "3"), "model.model_dim": ("--set", "64")}
    model = load_recipe("demo", changes).recipe.model
    assert (model.num_layers, model.model_dim) == (3, 64)


def test_unknown_options_wrong_values_and_their_lines_come_together(tmp_path):
    path = write(tmp_path, "extends: baseline\nmodel:\n  num_layers: many\n  colour: 3\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, {"USE_INT6": ("--set USE_INT6", "0")})
    unknown, wrong = str(caught.value).splitlines()
    assert unknown.startswith(f"{path}:4: no option is called model.colour")
    assert wrong == f"{path}:3: model.num_layers: expected a whole number, not 'many'"


def test_an_unknown_name_and_a_contradiction_come_together():
    changes = {"trian_seq_len": ("--set trian_seq_len", "7"), "model.num_heads": ("--set", "3")}
    with pytest.raises(RecipeError, match=r"(?s)no option is called trian_seq_len.*num_kv_heads"):
        load_recipe("baseline", changes)


def test_a_public_command_line_changes_a_recipe():
    command = "WARMDOWN_ITERS=20000 USE_INT6=1 MATRIX_LR=0.06 torchrun train_gpt.py"
    recipe = load_recipe("baseline", command_changes(command)).recipe
    assert (recipe.schedule.warmdown_iters, recipe.optimizer.matrix_lr) == (20_000, 0.06)
    assert recipe.quantization.matrix_bits == 6
    with pytest.raises(RecipeError, match="--replay MATRX_LR: no option .* MATRIX_LR"):
        load_recipe("baseline", command_changes("MATRX_LR=1 torchrun train_gpt.py"))


def test_mistakes_name_file_and_key_and_near_names(tmp_path):
    path = write(tmp_path, "extends: baseline\noptimizer:\n  matrx_lr: 1\n  betta1: 2\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, {"NUM_LAYER": ("--set NUM_LAYER", "3")})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{path}:3: no option is called optimizer.matrx_lr; did you mean")
    assert "optimizer.matrix_lr" in lines[0] and "NUM_LAYERS" in lines[2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a list", "is a YAML mapping"),
        ("a: [\n", "mine.yaml:2: not YAML: expected the node content"),
        ("modl:\n  num_layers: 2\n", "mine.yaml:1: modl: no such section; did you mean model"),
        (
            "model:\n  num_layers: 2\n  num_layers: 3\n",
            "mine.yaml:3: model.num_layers stands in line 2 too; keep one",
        ),
        ("model: 3\ntrack: demo\n", "model: expected options"),
        ("what: no track\n", "track: expected one of"),
        ("extends: baselin\n", "no recipe is called 'baselin'; did you mean baseline"),
        ("extends: mine.yaml\n", "more than 20 ancestors"),
        ("x" * 200_000, "is a YAML mapping"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, text, complaint):
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(write(tmp_path, text), {})


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe(str(tmp_path / "none.yaml"), {})


def test_a_slip_in_the_environment_is_an_error_and_strangers_are_not():
    assert environment_changes({"MATRIX_LR": "1", "HOME": "/root", "DATA_DIR": "x"}) == {
        "MATRIX_LR": ("environment variable MATRIX_LR", "1")
    }
    with pytest.raises(RecipeError, match="MATRX_LR is no option; did you mean MATRIX_LR"):
        environment_changes({"MATRX_LR": "1"})


def test_the_recipe_of_the_authors_page_loads(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "author.md").read_text()
    (text,) = [part for part in page.split("```") if part.startswith("yaml\n# pgolf-train small")]
    assert load_recipe(write(tmp_path, text.removeprefix("yaml\n")), {}).track == "demo"
