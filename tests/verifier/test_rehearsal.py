"""The rehearsal: one short seed on any machine, which tells whether it runs and decides little."""

import json
import shutil

import pytest
from tiny_track import HONEST_SCRIPT, TINY_TOKENS, write_shard

from verifier.rehearsal import CUT_DATA, small_data
from verifier.rehearsal import rehearse as rehearse_run
from verifier.rulebook import load_rulebook
from verifier.runs.plan import PlanOptions

SHOW = "import os, sys\nprint('sees', os.environ['ITERATIONS'], sys.argv)\n"
LOSSES = """
import array
array.array("f", [-1.0] * (num_tokens - 1)).tofile(open(os.environ["PGOLF_TOKEN_LOSSES"], "wb"))
"""


@pytest.fixture
def rehearse(pgolf, data, tmp_path, monkeypatch):
    """Rehearse a submission on the tiny track; gives the verdict."""
    monkeypatch.chdir(tmp_path)

    def call(submission, *arguments):
        words = ("--rung", "rehearsal", "--format", "json", *arguments)
        return json.loads(pgolf("verify", submission, *words).stdout)

    return call


def log(tmp_path) -> str:
    [path] = (tmp_path / "out").glob("seed_*/stdout.log")
    return path.read_text()


def test_a_rehearsal_runs_one_seed_and_leaves_the_rest_to_full_runs(rehearse, make_submission):
    submission = make_submission()
    verdict = rehearse(submission)
    assert (verdict["rung"], verdict["verdict"]) == ("rehearsal", "inconclusive")
    assert verdict["because"].startswith("rehearsal completed here; not evaluated: failed_run")
    assert f"pgolf-verify {submission} --track tiny" in verdict["next_command"]
    assert [m["outcome"] for m in verdict["measurements"]] == ["completed"]


def test_small_settings_go_over_the_readmes_and_the_users_over_both(
    rehearse, make_submission, tmp_path
):
    readme = "```\nSTEPS=4 ITERATIONS=9000 python train_gpt.py\n```\n"
    submission = make_submission(SHOW + HONEST_SCRIPT, {"README.md": readme})
    rehearse(submission)
    assert "sees 20 ['train_gpt.py']" in log(tmp_path)
    rehearse(submission, "--env", "ITERATIONS=7", "--out", tmp_path / "again")
    assert "sees 7 " in next((tmp_path / "again").glob("seed_*/stdout.log")).read_text()


@pytest.mark.parametrize(("rung", "seconds"), [("rehearsal", "120"), ("probe", "0")])
def test_runs_that_are_set_against_each_other_have_no_clock(data, rung, seconds):
    """Public scripts take 0 as no limit, and then lower their rates by steps."""
    rulebook = load_rulebook("10min_16mb")
    chosen = {"data": data, "rung": rung, "environment": {"ITERATIONS": "7"}}
    options = PlanOptions(profile="readme-strict", **chosen)
    environment = rehearse_run(rulebook, options).options.environment
    assert environment["MAX_WALLCLOCK_SECONDS"] == seconds
    assert environment["ITERATIONS"] == "7"


def test_a_script_that_fails_in_small_is_told_why_and_not_rejected(rehearse, make_submission):
    verdict = rehearse(make_submission("raise SystemExit('CUDA is required')"))
    assert verdict["verdict"] == "inconclusive"
    assert "rehearsal failed here: exit code 1; last words: CUDA is required" in verdict["because"]


def test_what_no_size_excuses_is_rejected_in_small_too(rehearse, make_submission, tiny_rules):
    verdict = rehearse(make_submission(HONEST_SCRIPT + LOSSES, {"pgolf.yaml": "version: 1"}))
    assert "broken: inconsistent_score" in verdict["because"]


def test_large_data_is_cut_and_small_data_used_as_it_is(rehearse, make_submission, data, tmp_path):
    validation = data / "datasets" / "tiny_sp64" / "fineweb_val_000000.bin"
    rehearse(make_submission())
    assert f"tokens:{TINY_TOKENS}" in log(tmp_path)
    write_shard(validation, 200_000)
    rehearse(tmp_path / "submission", "--out", tmp_path / "out2")
    cut = next((tmp_path / "out2").glob("seed_*/stdout.log")).read_text()
    assert "tokens:65535" in cut
    assert validation.stat().st_size > 400_000


def test_rehearsals_side_by_side_keep_their_own_data(data, tmp_path, monkeypatch):
    """One begins while another runs, in the same folder and with other data."""
    monkeypatch.chdir(tmp_path)
    small = load_rulebook("10min_16mb").track.rehearsal
    other = tmp_path / "other"
    shutil.copytree(data, other)
    for folder, num_tokens in ((data, 200_000), (other, 300_000)):
        write_shard(folder / "datasets/tiny_sp64/fineweb_val_000000.bin", num_tokens)
    (other / "tokenizers/more.txt").write_text("other words")
    first = small_data(data, small)
    files = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert len(files) >= 3
    assert small_data(other, small) != first
    assert small_data(data, small) == first
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == files
    assert len(list(CUT_DATA.iterdir())) == 2
