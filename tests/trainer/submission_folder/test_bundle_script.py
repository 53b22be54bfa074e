import ast
import os
import subprocess
import sys
from functools import cache

import pytest
from forked import run_script

from trainer import train_gpt
from trainer.errors import TrainerError
from trainer.recipe import Recipe, recipe_settings
from trainer.recipe_checks import build_recipe
from trainer.recipe_file import load_recipe, recipe_names
from trainer.submission_folder import bundle_script as bundler
from trainer.submission_folder.pack_script import pack_script

ALLOWED = {*sys.stdlib_module_names, "torch", "numpy", "sentencepiece", "zstandard", "brotli"}


@pytest.fixture(scope="module")
def script():
    return bundler.bundle_script(recipe_settings(Recipe()), "baseline: the public one")


def test_the_script_imports_nothing_of_ours(script):
    nodes = [n for n in ast.walk(ast.parse(script)) if isinstance(n, ast.Import | ast.ImportFrom)]
    imported = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    imported |= {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}
    assert len(imported) > 10
    assert {name.partition(".")[0] for name in imported} <= ALLOWED


def test_the_same_recipe_gives_the_same_bytes_in_another_process(script):
    code = (
        "from trainer.recipe import *; from trainer.submission_folder.bundle_script import *;"
        "print(bundle_script(recipe_settings(Recipe()), 'baseline: the public one'), end='')"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert again.stdout.decode() == script


def test_the_recipe_stands_in_the_script_as_literals():
    open_settings, built_in = literals(script_of("demo"))
    settings = recipe_settings(load_recipe("demo", {}).recipe)
    assert (open_settings | built_in).items() <= settings.items()
    assert settings.keys() - open_settings.keys() - built_in.keys() == {"run.checkpoint_folder"}
    assert open_settings["model.model_dim"] == 96 and not built_in["quantization.qat_enabled"]


def literals(script):
    """RECIPE and BUILT_IN of a script."""
    assigned = {
        ast.unparse(node.targets[0]): node.value
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign)
    }
    return [ast.literal_eval(assigned[name]) for name in ("RECIPE", "BUILT_IN")]


def test_what_nothing_reaches_is_left_out(script):
    assert "class GPT" in script and "def read_shard" in script
    assert "def write_shard" not in script and "import subprocess" not in script


@pytest.mark.parametrize(
    ("recipe", "held", "left_out"),
    [
        (
            "demo",
            ["class Muon"],
            ["Adapter", "BigramHash", "WeightAverage", "boundaries", "Growth"],
        ),
        (
            "pr65",
            ["class BigramHash", "class SmearGate", "fake_quantize"],
            ["Adapter", "RoutedLanes"],
        ),
        ("pr77", ["class Adapter", "deltas"], ["BigramHash", "fake_quantize", "boundaries"]),
        ("pr1855", ["class RoutedLanes", "class WeightLearner", "is_looped"], ["BigramHash"]),
    ],
)
def test_a_script_holds_the_code_of_its_own_recipe_alone(tmp_path, recipe, held, left_out):
    script = script_of(recipe)
    assert [name for name in held if name not in script] == []
    assert [name for name in left_out if name in script] == []
    assert complaints_about(script, tmp_path) == ""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_makes_a_script_that_defines_all_that_it_reads(tmp_path, recipe):
    assert complaints_about(script_of(recipe), tmp_path) == ""


@cache
def script_of(recipe):
    return bundler.bundle_script(recipe_settings(load_recipe(recipe, {}).recipe), recipe)


def complaints_about(script, folder):
    """What a linter finds undefined or unused, and lines laid out unlike our own code."""
    (folder / "train_gpt.py").write_text(script)
    ruff = [sys.executable, "-m", "ruff"]
    lint = [*ruff, "check", "--isolated", "--select", "E9,F", folder]
    layout = [*ruff, "format", "--isolated", "--line-length", "100", "--diff", folder]
    outcomes = [subprocess.run(part, capture_output=True, text=True) for part in (lint, layout)]
    return "".join(ran.stdout for ran in outcomes if ran.returncode != 0)


def test_an_attribute_that_is_called_like_an_option_is_refused():
    sources = {"trainer.odd": "class Odd:\n    def __init__(self):\n        self.clock = 3\n"}
    with pytest.raises(TrainerError, match=r"trainer.odd: Odd.clock is called like an option"):
        bundler.modules_for(sources, {"clock": "loop"})


def test_a_title_cannot_become_code():
    script = bundler.bundle_script({}, 'x\nimport evil\r"""\\')
    assert script.splitlines()[0] == '# x import evil """\\'


def run_main(code, folder, data):
    """The token losses after training with main() in a process of its own."""
    environment = {
        "DATA_PATH": str(data / "datasets" / "tiny"),
        "TOKENIZER_PATH": str(data / "tokenizers" / "tiny.model"),
        "PGOLF_TOKEN_LOSSES": str(folder / "losses"),
    }
    (folder / "train_gpt.py").write_text(code)
    run_script(folder / "train_gpt.py", environment=environment).check_returncode()
    log = (folder / "logs" / "run.txt").read_text()
    steps = [line.split(" train_time")[0] for line in log.splitlines() if line.startswith("step:")]
    return steps, (folder / "losses").read_bytes()


ALL_LEVERS = {
    "model.model_dim": 128,
    "model.mlp_hidden": 640,
    "model.rope_train_seq_len": 8,
    "model.use_smeargate": True,
    "model.bigram_hash_buckets": 64,
    "model.bigram_hash_dim": 8,
    "model.orthogonal_init": True,
    "model.overtone_init": True,
    "model.phased_resid_mix": True,
    "optimizer.muon_weight_decay": 0.02,
    "optimizer.adam_weight_decay": 0.01,
    "optimizer.grad_clip_norm": 1.0,
    "quantization.matrix_bits": 6,
    "quantization.fp16_passthrough_patterns": "tok_emb,blocks.1.attn.c_k",
    "quantization.qat_enabled": True,
    "quantization.code_packing": "bits",
    "quantization.compressor": "zstd",
    "evaluation.score_tail": True,
    "evaluation.eval_seq_len": 24,
    "evaluation.eval_stride": 5,
}
MODERN = {
    "batch.pack_documents": True,
    "model.num_layers": 4,
    "model.leaky_relu_slope": 0.5,
    "model.rope_dims": 4,
    "model.ln_scale": True,
    "model.xsa_last_n": 4,
    "model.skip_gates_enabled": True,
    "model.num_loops": 1,
    "model.loop_start": 1,
    "model.loop_end": 2,
    "model.parallel_start_layer": 3,
    "model.sparse_attn_gate_enabled": True,
    "model.smear_gate_enabled": True,
    "model.ve_enabled": True,
    "model.ve_layers": "3",
    "optimizer.newton_schulz": "polar_express",
    "optimizer.muon_row_normalize": True,
    "optimizer.wd_taper_final_mult": 0.5,
    "optimizer.embed_weight_decay": 0.02,
    "optimizer.grad_clip_norm": 0.3,
    "optimizer.grad_clip": "local",
    "optimizer.gradient_reduction": "reduce_scatter",
    "optimizer.ema_decay": 0.5,
    "schedule.enable_looping_at": 0.35,
    "schedule.train_seq_schedule": "4@0.3,8@0.5,16@1",
    "schedule.seq_change_warmup_steps": 2,
    "schedule.warmdown_frac": 0.85,
    "schedule.min_lr": 0.1,
}
LEARNING = {
    "evaluation.ttt_enabled": True,
    "evaluation.ttt_chunk_size": 8,
    "evaluation.ttt_eval_seq_len": 16,
    "evaluation.ttt_batch_size": 2,
    "evaluation.ttt_mlp_lora": True,
    "evaluation.phased_ttt_num_phases": 2,
    "evaluation.global_ttt_chunk_tokens": 16,
}


@pytest.mark.parametrize(
    "levers",
    [{}, ALL_LEVERS, MODERN | LEARNING],
    ids=["none", "ladder", "modern-and-learning"],
)
def test_script_packed_or_not_and_package_compute_the_same_to_the_last_bit(
    tmp_path, tiny_settings, tiny_data, levers
):
    settings = recipe_settings(build_recipe(tiny_settings | levers))
    compute_the_same(settings, tmp_path, tiny_data)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipes_script_computes_what_the_package_does(
    tmp_path, tiny_form, tiny_data, recipe
):
    compute_the_same(recipe_settings(build_recipe(tiny_form(recipe))), tmp_path, tiny_data)


def compute_the_same(settings, folder, data):
    """Train and score with the package, the script and its packed form."""
    script = bundler.bundle_script(settings, "tiny")
    packed = pack_script(script, "tiny", "readable.py")
    assert len(packed) < len(script) / 2
    packaged = (
        "from pathlib import Path; from trainer.train_gpt import main;"
        f"main({settings!r}, Path({train_gpt.__file__!r}), {{}})"
    )
    outcomes = []
    for name, code in (("package", packaged), ("script", script), ("packed", packed)):
        (folder / name).mkdir()
        outcomes.append(run_main(code, folder / name, data))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0][0]) == 3 and len(outcomes[0][1]) >= 384 * 4


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import trainer.errors\n", "only a top-level `from trainer.x import Name`"),
        ("from trainer.errors import DataError as D\n", "only a top-level"),
        ("from . import errors\n", "only a top-level"),
        ("def main():\n    from trainer.errors import DataError\n", "only a top-level"),
        ("print('hello')\n", "only definitions can be bundled"),
        ("if True:\n    x = 1\n", "only definitions can be bundled"),
    ],
)
def test_what_cannot_be_flattened_is_refused(source, complaint):
    with pytest.raises(TrainerError, match=complaint):
        bundler.read_module("trainer.odd", source)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def same(): ...", "def same(): ..."),
        ("import json", "json = 3"),
        ("import numpy as np", "from torch import np"),
    ],
)
def test_a_name_with_two_meanings_is_refused(one, other):
    modules = [bundler.read_module("trainer.one", one), bundler.read_module("trainer.other", other)]
    with pytest.raises(TrainerError, match="is both"):
        bundler.refuse_ambiguous_names(modules)
