import subprocess
import sys
from dataclasses import fields

import pytest

from trainer.errors import RecipeError
from trainer.recipe import (
    Recipe,
    build_recipe,
    environment_settings,
    options_by_path,
    public_names,
    recipe_settings,
)

# openai/parameter-golf, train_gpt.py at commit 4908dc4: what it reads from the environment.
PUBLIC_NAMES = """DATA_PATH TOKENIZER_PATH RUN_ID SEED VAL_BATCH_SIZE VAL_LOSS_EVERY
TRAIN_LOG_EVERY ITERATIONS WARMDOWN_ITERS WARMUP_STEPS TRAIN_BATCH_TOKENS TRAIN_SEQ_LEN
MAX_WALLCLOCK_SECONDS QK_GAIN_INIT VOCAB_SIZE NUM_LAYERS NUM_KV_HEADS MODEL_DIM NUM_HEADS MLP_MULT
TIE_EMBEDDINGS ROPE_BASE LOGIT_SOFTCAP EMBED_LR HEAD_LR TIED_EMBED_LR TIED_EMBED_INIT_STD MATRIX_LR
SCALAR_LR MUON_MOMENTUM MUON_BACKEND_STEPS MUON_MOMENTUM_WARMUP_START MUON_MOMENTUM_WARMUP_STEPS
BETA1 BETA2 ADAM_EPS GRAD_CLIP_NORM CONTROL_TENSOR_NAME_PATTERNS
INT8_KEEP_FLOAT_FP32_NAME_PATTERNS"""


def test_every_name_of_the_public_script_is_an_option():
    assert set(PUBLIC_NAMES.split()) <= set(public_names())


def test_no_two_options_share_a_public_name():
    assert len(public_names()) == len(options_by_path()) >= 43


def test_settings_and_recipe_turn_into_each_other():
    recipe = build_recipe({"model.num_layers": 11, "optimizer.matrix_lr": "1e-3"})
    assert recipe.model.num_layers == 11 and recipe.optimizer.matrix_lr == 0.001
    assert build_recipe(recipe_settings(recipe)) == recipe


def test_the_environment_sets_options_by_public_name():
    settings = environment_settings({"NUM_LAYERS": "7", "TIE_EMBEDDINGS": "0", "HOME": "/root"})
    assert settings == {"model.num_layers": "7", "model.tie_embeddings": "0"}
    assert build_recipe(settings).model.tie_embeddings is False


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("model.num_layers", "nine", "expected a whole number, not 'nine'"),
        ("model.num_layers", 2.5, "expected a whole number, not 2.5"),
        ("model.num_layers", True, "expected a whole number, not True"),
        ("model.num_layers", 0, "must be at least 1, not 0"),
        ("optimizer.adam_eps", 0, "must be above 0, not 0.0"),
        ("optimizer.matrix_lr", "nan", "expected a number, not 'nan'"),
        ("model.tie_embeddings", "yes", "expected 0 or 1, not 'yes'"),
        ("run.run_id", 5, "expected text, not 5"),
        ("device.torch_compile", "maybe", "expected one of gpu, always, never, not 'maybe'"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(path, value, complaint):
    with pytest.raises(RecipeError) as caught:
        build_recipe({path: value}, {path: "here.yaml"})
    assert str(caught.value) == f"here.yaml: {path}: {complaint}"


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(RecipeError) as caught:
        build_recipe({"model.num_layers": "x", "model.model_dim": "y", "optimizer.beta1": "z"})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"batch.train_batch_tokens": 1000}, "must be a multiple of micro_batches_per_step"),
        ({"batch.val_batch_size": 8000}, "must be at least micro_batches_per_step"),
        ({"model.model_dim": 500}, "must be a multiple of num_heads"),
        ({"model.model_dim": 8, "model.num_kv_heads": 1}, "must be even for rotary positions"),
        ({"model.num_kv_heads": 3}, "must be a multiple of num_kv_heads"),
    ],
)
def test_options_that_contradict_each_other_are_refused(settings, complaint):
    with pytest.raises(RecipeError, match=complaint):
        build_recipe(settings)


def test_recipes_are_checked_without_torch():
    code = "import sys, trainer.recipe_file, trainer.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_section_is_a_frozen_record():
    assert all(part.type.__dataclass_params__.frozen for part in fields(Recipe))
