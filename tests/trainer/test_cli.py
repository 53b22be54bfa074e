import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from forked import run_forked

from trainer.cli import main
from trainer.data.token_shards import write_shard


def pgolf_train(*arguments, **environment):
    return run_forked(call_main, *map(str, arguments), cwd=Path.cwd(), environment=environment)


def call_main(*words):
    sys.argv = ["pgolf-train", *words]
    main()


@pytest.fixture(scope="module")
def submission(tmp_path_factory, tiny_data):
    """A folder with two seeds, trained by the command line."""
    folder = tmp_path_factory.mktemp("made") / "submission"
    recipe = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    recipe.write_text(
        "# pgolf-train tiny.yaml\nextends: demo\nwhat: Tiny.\n"
        "batch: {train_batch_tokens: 64, train_seq_len: 16, val_batch_size: 128}\n"
        "model: {vocab_size: 320, model_dim: 16}\nschedule: {iterations: 3}\n"
    )
    ran = pgolf_train(recipe, "--data", tiny_data, "--seeds", "42,7", "--out", folder)
    assert ran.returncode == 0, ran.stderr
    return folder, recipe, ran


def test_the_folder_holds_what_is_handed_in_and_no_weights(submission):
    folder, _, _ = submission
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "metrics.jsonl",
        "pgolf.yaml",
        "requirements.txt",
        "submission.json",
        "train_gpt.py",
        "train_seed42.log",
        "train_seed7.log",
        "training.svg",
    ]


def test_the_figures_are_those_of_the_logs(submission):
    folder, _, ran = submission
    record = json.loads((folder / "submission.json").read_text())
    assert record["seeds"] == [42, 7] and record["track"] == "demo"
    bits = [record["seed_results"][seed]["val_bpb"] for seed in ("42", "7")]
    assert record["val_bpb"] == pytest.approx(np.mean(bits), abs=1e-8)
    assert record["val_bpb_std"] == pytest.approx(np.std(bits, ddof=1), abs=1e-8)
    assert f"val_bpb:{bits[0]:.8f}" in (folder / "train_seed42.log").read_text()
    assert record["bytes_code"] == (folder / "train_gpt.py").stat().st_size
    assert record["bytes_total"] > record["bytes_code"]
    assert str(folder) in ran.stdout and "seed 42 | step:3/3" in ran.stderr


def test_the_readme_says_how_to_run_each_seed(submission):
    text = (submission[0] / "README.md").read_text()
    for seed in (42, 7):
        assert f"SEED={seed} DATA_PATH=./data/datasets/tiny TOKENIZER_PATH=" in text
    assert "- `model.model_dim`: 16 (baseline: 512)" in text


def test_the_contract_names_commands_and_artifact(submission):
    contract = yaml.safe_load((submission[0] / "pgolf.yaml").read_text())
    assert contract == {
        "version": 1,
        "train": "python train_gpt.py train",
        "evaluate": "python train_gpt.py evaluate",
        "artifact": ["final_model.int8.ptz"],
        "code": ["train_gpt.py"],
        "stream": {
            "command": "python train_gpt.py stream",
            "pieces": 16,
            "context": 0,
            "lanes": 512,
        },
    }


def test_resuming_runs_only_what_is_missing(submission, tiny_data):
    folder, recipe, _ = submission
    before = (folder / "train_seed42.log").stat().st_mtime_ns
    (folder / "train_seed7.log").unlink()
    ran = pgolf_train(recipe, "--data", tiny_data, "--seeds", "42,7", "--out", folder, "--resume")
    assert ran.returncode == 0 and "seed 7 |" in ran.stderr and "seed 42 |" not in ran.stderr
    assert (folder / "train_seed42.log").stat().st_mtime_ns == before


def test_an_existing_folder_is_not_touched_unasked(submission, tiny_data, tmp_path):
    folder, recipe, _ = submission
    ran = pgolf_train(recipe, "--data", tiny_data, "--out", folder)
    assert ran.returncode == 2 and "add --resume, --overwrite" in ran.stderr
    changed = ("--set", "ITERATIONS=4", "--out", folder, "--resume")
    ran = pgolf_train(recipe, "--data", tiny_data, *changed)
    assert ran.returncode == 2 and "another script" in ran.stderr
    (tmp_path / "precious").write_text("x")
    ran = pgolf_train(recipe, "--data", tiny_data, "--out", tmp_path, "--overwrite")
    assert ran.returncode == 2 and (tmp_path / "precious").exists()


def test_an_untrained_folder_holds_all_but_logs_and_claims_nothing(tmp_path):
    ran = pgolf_train("pr77", "--untrained", "--packed", "--gpus", "8", "--out", tmp_path / "out")
    assert (ran.returncode, ran.stdout) == (0, f"written, not run: {tmp_path / 'out'}\n")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    scripts = {"train_gpt.py", "train_gpt_readable.py"}
    assert names == {"README.md", "pgolf.yaml", "requirements.txt", "submission.json"} | scripts
    record = json.loads((tmp_path / "out" / "submission.json").read_text())
    assert record["track"] == "non_record_16mb" and "val_bpb" not in record
    text = (tmp_path / "out" / "README.md").read_text()
    assert "**Not run.**" in text and "SEED=1337 DATA_PATH=./data/datasets/fineweb10B" in text


def test_a_plan_tells_the_scripts_bytes_in_both_forms():
    ran = pgolf_train("plan", "demo")
    readable, packed = re.findall(r"^ +([\d,]+)  bytes of (?:readable )?script", ran.stdout, re.M)
    assert int(readable.replace(",", "")) > 3 * int(packed.replace(",", ""))


@pytest.fixture
def tiny_command(tiny_yaml, tiny_data, tmp_path):
    return [tiny_yaml, "--data", tiny_data, "--out", tmp_path / "out"]


def test_a_run_that_fails_says_why_and_keeps_its_output(tiny_command, tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    write_shard(data / "datasets/tiny/fineweb_train_000001.bin", np.full(500, 999))
    ran = pgolf_train(*tiny_command, "--data", data, "--set", "ITERATIONS=50", "-q")
    assert ran.returncode == 4 and len(ran.stderr.splitlines()) == 1
    assert "seed 1337: training ended with exit code 2" in ran.stderr
    assert "token id 999 in the shards, but vocab_size is 320" in ran.stderr
    assert (tmp_path / "out" / "train_seed1337.log.partial").is_file()


def test_being_stopped_ends_the_training_processes(tiny_command, tmp_path):
    command = [
        sys.executable,
        "-m",
        "trainer",
        *map(str, tiny_command),
        "--set",
        "ITERATIONS=1000000",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "step:3/" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=120) == 130 and "--resume" in rest
    partial = tmp_path / "out" / "train_seed1337.log.partial"
    size = partial.stat().st_size
    time.sleep(0.5)
    assert partial.stat().st_size == size


def test_losing_the_terminal_ends_the_training_processes(tiny_command):
    """They have a session of their own, and would train on with nobody to read them."""
    words = [sys.executable, "-m", "trainer", *map(str, tiny_command), "--set", "ITERATIONS=999999"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    next(line for line in process.stderr if "step:3/" in line)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGHUP)
    process.stderr.read()
    assert process.wait(timeout=120) == 130
    assert children and not any(child.is_running() for child in children)


@pytest.mark.parametrize("words", [["--help"], ["recipes"], ["data", "build", "--help"]])
def test_a_reader_that_went_away_is_told_as_shells_do(words):
    command = [sys.executable, "-m", "trainer", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_reader_of_the_progress_that_went_away_ends_the_training(tiny_command, tmp_path):
    words = [sys.executable, "-m", "trainer", *map(str, tiny_command), "--set", "ITERATIONS=999999"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if "step:3/" in line)
        process.stderr.close()
    assert process.returncode == 141
    assert (tmp_path / "out" / "train_seed1337.log.partial").is_file()


def write_bad_magic(folder):
    shard = folder / "datasets" / "tiny" / "fineweb_train_000000.bin"
    shard.write_bytes(b"\0" * 2000)


def write_big_token(folder):
    tokens = np.full(500, 320)
    write_shard(folder / "datasets" / "tiny" / "fineweb_train_000000.bin", tokens)


def write_too_few(folder):
    for shard in (folder / "datasets" / "tiny").glob("fineweb_train_*.bin"):
        write_shard(shard, np.arange(50))


def remove_tokenizer(folder):
    (folder / "tokenizers" / "tiny.model").unlink()


def remove_validation(folder):
    (folder / "datasets" / "tiny" / "fineweb_val_000000.bin").unlink()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (write_bad_magic, "magic number"),
        (write_big_token, "token id 320, but vocab_size is 320"),
        (write_too_few, "100 train tokens"),
        (remove_tokenizer, "no tokenizer for tiny"),
        (remove_validation, "no fineweb_val_*.bin shards"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(
    tiny_yaml, tiny_data, tmp_path, damage, complaint
):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    damage(data)
    ran = pgolf_train(tiny_yaml, "--data", data, "--out", tmp_path / "out")
    assert ran.returncode == 2 and complaint in ran.stderr
    assert len(ran.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dmo"], "no recipe is called 'dmo'; did you mean demo"),
        (["plna", "demo"], "no command or recipe is called 'plna'; did you mean plan?"),
        (
            ["demo", "--set", "run.data_path=absent"],
            "absent: no such data; say with --data DIR where yours are",
        ),
        (["demo", "--data", "rule"], "rule: no such folder\n"),  # rules/ holds no data
        (["demo", "--data", "rules"], "no token shards here"),
        (["demo", "--data", "/nowhere"], "/nowhere: no such folder"),
        (["demo", "--seeds", "1,x"], "expected whole numbers"),
        (["demo", "--seeds", "1,1"], "names a seed twice"),
        (["demo", "--set", "ITERATIONS"], "expected KEY=VALUE"),
        (["demo", "--set", "ITERATION=3"], "did you mean ITERATIONS"),
        (["demo", "--set", "VOCAB_SIZE=99999999999x"], "expected a whole number"),
        (
            ["demo", "--set", "model.num_layers=x"],
            "train: --set model.num_layers: expected a whole",
        ),
        (["demo", "--overwrite", "--resume"], "exclude each other"),
        (["demo", "--gpus", "0"], "0 is not in the range"),
        (["demo", "--nonsense"], "No such option"),
    ],
)
def test_a_mistake_on_the_command_line_is_exit_code_2(arguments, complaint):
    ran = pgolf_train(*arguments)
    assert ran.returncode == 2 and complaint in ran.stderr and "Traceback" not in ran.stderr


def test_a_data_folder_of_nearly_that_name_is_named(tiny_yaml, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "words")
    ran = pgolf_train(tiny_yaml, "--data", tmp_path / "wrods", "--out", tmp_path / "out")
    assert ran.returncode == 2 and f"did you mean {tmp_path / 'words'}?" in ran.stderr


def test_a_total_that_the_script_alone_takes_is_refused_before_training(tmp_path):
    changes = ("--set", "quantization.fit_total_bytes=40000")
    ran = pgolf_train("pr1855", "--untrained", "--out", tmp_path / "out", *changes)
    assert ran.returncode == 2 and not (tmp_path / "out").exists()
    assert "leaves nothing for the artifact" in ran.stderr and "--packed" in ran.stderr


def test_a_recipe_that_the_processes_cannot_share_is_refused(tiny_command):
    ran = pgolf_train(*tiny_command, "--gpus", "3")
    assert ran.returncode == 2 and "must be a multiple of the number of GPUs" in ran.stderr


def test_two_processes_make_a_submission(tiny_command, tmp_path):
    ran = pgolf_train(*tiny_command, "--gpus", "2", "-q")
    assert ran.returncode == 0, ran.stderr
    assert "world_size:2 grad_accum_steps:1" in (tmp_path / "out/train_seed1337.log").read_text()
    assert (
        "torchrun --standalone --nproc_per_node=2 train_gpt.py"
        in (tmp_path / "out" / "README.md").read_text()
    )


def test_help_answers_without_torch_in_a_moment():
    code = (
        "import sys; sys.argv = ['pgolf-train', '--help']\n"
        "try:\n    from trainer.cli import main; main()\n"
        "except SystemExit: pass\nsys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0
    assert all(word in ran.stdout for word in ("RECIPE", "recipes", "plan", "data"))


def test_without_torch_it_says_what_to_install():
    code = (
        "import sys; sys.argv = ['pgolf-train', 'plan', 'demo']; sys.modules['torch'] = None\n"
        "from trainer.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (
        4,
        "pgolf-train: torch is missing: pip install 'pgolf[trainer]'\n",
    )


def test_recipes_are_listed_with_parent_and_a_command_that_can_be_copied():
    listed = pgolf_train("recipes", COLUMNS="60").stdout.splitlines()
    assert "demo (extends demo_baseline)" in listed
    assert "  pgolf-train demo --data data/demo --seeds 42,314,1337" in listed
    assert not [line for line in listed if "…" in line]


def test_what_the_environment_changes_is_said():
    ran = pgolf_train("demo", "--data", "/nowhere", NUM_LAYERS="1")
    assert "pgolf-train: changed by environment variables: NUM_LAYERS=1\n" in ran.stderr


def test_a_plan_says_what_the_baseline_amounts_to():
    ran = pgolf_train("plan", "baseline")
    assert "environment" not in ran.stderr
    for figure in ("17,059,912", "130,547,712", "524,288 weights", "the track's cap of 16,000,000"):
        assert figure in ran.stdout


def test_every_command_has_help():
    for command in (["demo"], ["plan"], ["recipes"], ["data"]):
        assert "Usage: " in pgolf_train(*command, "--help").stdout
