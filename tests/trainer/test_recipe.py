import subprocess
import sys
from dataclasses import fields

from trainer.recipe import Recipe, recipe_settings
from trainer.recipe_checks import build_recipe


def test_settings_and_recipe_turn_into_each_other():
    recipe = build_recipe({"model.num_layers": 11, "optimizer.matrix_lr": "1e-3"})
    assert recipe.model.num_layers == 11 and recipe.optimizer.matrix_lr == 0.001
    assert build_recipe(recipe_settings(recipe)) == recipe


def test_recipes_are_checked_without_torch():
    code = "import sys, trainer.recipe_file, trainer.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_section_is_a_frozen_record():
    assert all(part.type.__dataclass_params__.frozen for part in fields(Recipe))
