import forked
import numpy as np
import pytest

from trainer.phases.prepare import build_model
from trainer.recipe import recipe_settings
from trainer.recipe_checks import build_recipe
from trainer.submission_folder.bundle_script import bundle_script


def run_script(folder, data, *verbs, **environment):
    paths = {
        "DATA_PATH": str(data / "datasets" / "tiny"),
        "TOKENIZER_PATH": str(data / "tokenizers" / "tiny.model"),
    }
    return forked.run_script(folder / "train_gpt.py", *verbs, environment=paths | environment)


@pytest.fixture(scope="module")
def script(tiny_recipe):
    return bundle_script(recipe_settings(tiny_recipe), "tiny")


@pytest.fixture
def script_folder(tmp_path, script):
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "train_gpt.py").write_text(script)
    return folder


def test_weights_that_become_codes_are_trained_as_codes_where_the_recipe_says(tiny_settings, alone):
    wide = tiny_settings | {"model.model_dim": 128, "model.mlp_hidden": 640}
    rounded = {
        is_on: [
            name
            for name, module in build_model(
                build_recipe(wide | {"quantization.qat_enabled": is_on}), alone
            ).named_modules()
            if getattr(module, "fake_quantize", None) is not None
        ]
        for is_on in (True, False)
    }
    wanted = [f"blocks.{layer}.mlp.{part}" for layer in (0, 1) for part in ("fc", "proj")]
    assert rounded == {True: wanted, False: []}


def last_line(ran):
    return (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines()[-1]


def test_training_and_cold_evaluation_score_what_one_process_scores(script_folder, tiny_data):
    together = run_script(script_folder, tiny_data)
    artifact = (script_folder / "final_model.int8.ptz").read_bytes()
    trained = run_script(script_folder, tiny_data, "train")
    assert (script_folder / "final_model.int8.ptz").read_bytes() == artifact
    assert "final_int8_zlib" not in trained.stdout
    cold = run_script(script_folder, tiny_data, "evaluate")
    assert last_line(cold) == last_line(together)
    assert last_line(cold).startswith("final_int8_zlib_roundtrip_exact val_loss:")


def test_training_does_not_open_validation_data(script_folder, tiny_data, tmp_path):
    blind = tmp_path / "blind" / "datasets" / "tiny"
    blind.mkdir(parents=True)
    for shard in (tiny_data / "datasets" / "tiny").glob("fineweb_train_*"):
        (blind / shard.name).symlink_to(shard)
    assert run_script(script_folder, tiny_data, "train", DATA_PATH=str(blind)).returncode == 0
    ran = run_script(script_folder, tiny_data, "evaluate", DATA_PATH=str(blind))
    assert ran.returncode == 2 and "no fineweb_val_*.bin shards" in last_line(ran)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"evaluation.eval_stride": 5, "evaluation.eval_seq_len": 20},
        {
            "evaluation.ttt_enabled": True,
            "evaluation.ttt_chunk_size": 8,
            "evaluation.ttt_eval_seq_len": 16,
            "evaluation.phased_ttt_num_phases": 2,
            "evaluation.global_ttt_chunk_tokens": 16,
        },
    ],
)
def test_token_losses_add_up_to_the_printed_loss(script_folder, tiny_data, tiny_recipe, changed):
    if changed:
        script = bundle_script(recipe_settings(tiny_recipe) | changed, "tiny")
        (script_folder / "train_gpt.py").write_text(script)
    ran = run_script(script_folder, tiny_data, PGOLF_TOKEN_LOSSES="losses.f32")
    losses = np.fromfile(script_folder / "losses.f32", dtype="<f4")
    printed = float(last_line(ran).split("val_loss:")[1].split()[0])
    assert losses.size == 400
    assert losses.mean(dtype=np.float64) == pytest.approx(printed, abs=1e-8)


def test_the_seed_decides_the_result(script_folder, tiny_data):
    first, again, other = (
        last_line(run_script(script_folder, tiny_data, SEED=seed)) for seed in ("1", "1", "2")
    )
    assert first == again != other


def test_the_log_begins_with_the_source_that_ran(script_folder, tiny_data):
    assert run_script(script_folder, tiny_data, RUN_ID="mine").returncode == 0
    log = (script_folder / "logs" / "mine.txt").read_text()
    assert log.startswith((script_folder / "train_gpt.py").read_text())


@pytest.mark.parametrize(
    ("verbs", "environment", "complaint"),
    [
        (["fly"], {}, "RecipeError: no verb 'fly'; expected train, evaluate or stream"),
        ([], {"NUM_LAYERS": "x"}, "model.num_layers: expected a whole number, not 'x'"),
        ([], {"VOCAB_SIZE": "100"}, "has 320 tokens, but the vocabulary size asked for is 100"),
        ([], {"DATA_PATH": "/nowhere"}, "/nowhere: no fineweb_train_*.bin shards"),
        (["evaluate"], {}, "final_model.int8.ptz: no such file here"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    script_folder, tiny_data, verbs, environment, complaint
):
    ran = run_script(script_folder, tiny_data, *verbs, **environment)
    assert ran.returncode == 2
    assert complaint in last_line(ran) and len(ran.stderr.splitlines()) == 1


def test_an_artifact_of_another_shape_is_refused(script_folder, tiny_data):
    assert run_script(script_folder, tiny_data, "train").returncode == 0
    ran = run_script(script_folder, tiny_data, "evaluate", NUM_LAYERS="1")
    assert ran.returncode == 2 and "belongs to a model of another shape" in last_line(ran)
