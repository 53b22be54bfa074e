"""What will be run: seeds, command and environment, fixed before the first run."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.runs.plan import assigned_seeds

SHA = "ab" * 32


def planned(pgolf, submission, *arguments):
    result = pgolf("run", submission, "--plan-only", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(1, 40))
def test_assigned_seeds_are_stable_distinct_and_extendable(sha256, count):
    seeds = assigned_seeds(sha256, "tiny", count)
    assert seeds == assigned_seeds(sha256, "tiny", 50)[:count]
    assert len(set(seeds)) == count
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_assigned_seeds_depend_on_submission_and_track():
    seeds = [assigned_seeds(SHA, "a", 3), assigned_seeds(SHA, "b", 3), assigned_seeds("c", "a", 3)]
    assert len({seed for three in seeds for seed in three}) == 9


def test_one_byte_of_the_script_changes_the_seeds(pgolf, make_submission):
    folder = make_submission()
    before = planned(pgolf, folder)
    (folder / "train_gpt.py").write_text((folder / "train_gpt.py").read_text() + "#")
    assert set(planned(pgolf, folder)["seeds"]).isdisjoint(before["seeds"])


def test_the_plan_needs_no_run_to_be_the_same_twice(pgolf, make_submission):
    folder = make_submission()
    assert planned(pgolf, folder) == planned(pgolf, folder)


def test_the_readme_sets_what_is_not_ours(pgolf, make_submission):
    plan = planned(pgolf, make_submission())
    assert plan["environment"] == {
        "STEPS": "4",
        "DATA_DIR": "/pgolf/data/",
        "DATA_PATH": "/pgolf/data/datasets/tiny_sp64",
        "TOKENIZER_PATH": "/pgolf/data/tokenizers/tiny_64_bpe.model",
    }
    assert plan["environment_origin"] == "README line 5"


@pytest.mark.parametrize("name", ["SEED", "DATA_PATH", "RUN_ID", "PGOLF_TOKEN_LOSSES"])
def test_own_names_never_come_from_the_readme(pgolf, make_submission, name):
    readme = f"```\nSTEPS=4 {name}=stolen python train_gpt.py\n```\n"
    plan = planned(pgolf, make_submission(files={"README.md": readme}))
    assert "stolen" not in plan["environment"].values()


@pytest.mark.parametrize("name", ["SEED", "DATA_PATH", "RUN_ID", "PGOLF_TOKEN_LOSSES"])
def test_own_names_are_refused_from_the_command_line(pgolf, make_submission, name):
    result = pgolf("run", make_submission(), "--env", f"{name}=1")
    assert (result.exit_code, "the harness sets it" in result.stderr) == (2, True)


def test_the_command_line_overrides_the_readme(pgolf, make_submission):
    plan = planned(pgolf, make_submission(), "--env", "STEPS=9")
    assert plan["environment"]["STEPS"] == "9"
    assert "set for this run: STEPS" in plan["environment_origin"]


def test_values_that_need_a_shell_are_left_out_and_named(pgolf, make_submission):
    readme = "```\nSTEPS=4 HERE=$(pwd) python train_gpt.py --fast | tee log\n```\n"
    plan = planned(pgolf, make_submission(files={"README.md": readme}))
    assert "HERE" not in plan["environment"]
    assert "left out (need a shell): HERE" in plan["environment_origin"]
    assert plan["argv"] == ["python", "train_gpt.py", "--fast"]


def test_gpus_ask_for_torchrun_whatever_the_track_launches(pgolf, make_submission):
    argv = planned(pgolf, make_submission(), "--gpus", "2")["argv"]
    assert argv[1:] == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train_gpt.py")
    ]


def test_named_seeds_are_marked_as_not_assigned(pgolf, make_submission):
    plan = planned(pgolf, make_submission(), "--seeds", "3,1")
    assert (plan["seeds"], plan["seeds_assigned"]) == ([3, 1], False)


def test_the_plan_says_which_data_it_is_about(pgolf, make_submission, data):
    plan = planned(pgolf, make_submission())
    assert [file["path"] for file in plan["data"]] == [
        "datasets/tiny_sp64/fineweb_train_000000.bin",
        "datasets/tiny_sp64/fineweb_val_000000.bin",
        "tokenizers/tiny_64_bpe.model",
    ]
    assert plan["data_folder"] == str(data)
