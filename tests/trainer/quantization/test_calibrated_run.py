"""Training, calibration, artifact and cold evaluation, as the script does them."""

import pytest
from forked import run_script

from trainer.recipe import recipe_settings
from trainer.recipe_checks import build_recipe
from trainer.submission_folder.bundle_script import bundle_script

ARTIFACT_BYTES = 370_000

SETTINGS = {
    "model.model_dim": 128,
    "model.mlp_hidden": 640,
    "quantization.matrix_bits": 6,
    "quantization.gptq_enabled": True,
    "quantization.gptq_calibration_batches": 3,
    "quantization.lqer_enabled": True,
    "quantization.awq_lite_enabled": True,
    "quantization.code_packing": "rans",
    "quantization.byte_shuffle": True,
    "quantization.fit_total_bytes": 1,  # the test says how many
}


@pytest.fixture
def run(tmp_path, tiny_settings, tiny_data):
    recipe = build_recipe(tiny_settings | SETTINGS)
    script = bundle_script(recipe_settings(recipe), "tiny")
    (tmp_path / "train_gpt.py").write_text(script)
    paths = {
        "FIT_TOTAL_BYTES": str(len(script.encode()) + ARTIFACT_BYTES),
        "DATA_PATH": str(tiny_data / "datasets" / "tiny"),
        "TOKENIZER_PATH": str(tiny_data / "tokenizers" / "tiny.model"),
    }

    def run_verb(*verbs):
        ran = run_script(tmp_path / "train_gpt.py", *verbs, environment=paths)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()

    return run_verb


def test_a_calibrated_run_fills_its_bytes_and_evaluates_cold_to_the_same_score(run):
    together = run()
    phases = [line.split()[0] for line in together if line.startswith("phase:")]
    order = ("warm_up", "training", "calibration", "serialise", "load", "evaluate")
    assert phases == [f"phase:{name}" for name in order]
    assert "gptq:collected 13 hessians micro_batches:3" in together
    sizes = [line.split()[3] for line in together if line.startswith("Serialized model int")]
    assert 0.999 * ARTIFACT_BYTES <= int(sizes[0]) <= ARTIFACT_BYTES
    assert run("evaluate")[-1] == together[-1]
