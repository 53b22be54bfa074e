"""What a rung costs is told from what ran here, and bounded where nothing did."""

import numpy as np
import pytest
import yaml
from tiny_track import tiny_track

from verifier.costs import PROBES
from verifier.probe.climb import tapes
from verifier.probe.tapes.variants import Sample


@pytest.fixture
def told(pgolf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(submission) -> dict[str, str]:
        lines = pgolf("run", submission, "--plan-only").stderr.splitlines()
        [first] = [i for i, line in enumerate(lines) if line.startswith("minutes a rung")]
        return {"": lines[first]} | {line.split()[0]: line for line in lines[first + 1 :]}

    return call


def test_without_runs_every_rung_is_bounded_alone(told, make_submission):
    costs = told(make_submission())
    assert costs[""].endswith("nothing of it ran here yet:")
    assert set(costs) == {"", "rehearsal", "floor", "probe", "rerun", "stream"}
    assert not any("about" in line for line in costs.values())
    assert all("at most" in costs[rung] for rung in ("rehearsal", "floor", "probe", "rerun"))


def test_whoever_asks_for_a_verdict_may_ask_for_its_plan(pgolf, make_submission):
    submission = make_submission()
    planned, of_run = (pgolf(verb, submission, "--plan-only") for verb in ("verify", "run"))
    assert planned.exit_code == 0 and planned.stdout == of_run.stdout


@pytest.mark.parametrize("is_offered", [True, False])
def test_a_stream_is_bounded_by_its_sessions_where_one_is_offered(
    told, make_submission, is_offered
):
    contract = {"train": "python a.py", "evaluate": "python a.py", "artifact": ["m"]}
    if is_offered:
        contract["stream"] = {"command": "python a.py", "pieces": "documents"}
    line = told(make_submission(files={"a.py": "", "pgolf.yaml": yaml.safe_dump(contract)}))
    wall_seconds = tiny_track()["limits"]["hard_wall_seconds"]["value"]
    minutes = (4 * 2_400 + 5 * wall_seconds) / 60  # three seeds stream, one is decoded and drawn
    assert (f"at most {minutes:.0f} " in line["stream"]) == is_offered
    assert ("offers no stream" in line["stream"]) != is_offered


def test_what_ran_here_is_expected_again(told, pgolf, make_submission, tmp_path):
    submission = make_submission()
    pgolf("run", submission, "--num-seeds", "1", "-q", "--out", tmp_path / "runs" / "one")
    costs = told(submission)
    assert costs[""].endswith("from 1 runs of it below runs/:")
    assert "about" in costs["rerun"] and "about" not in costs["floor"]


@pytest.mark.parametrize("promise", PROBES)
def test_all_tapes_of_the_probes_are_counted(promise):
    tokens = np.random.default_rng(1).integers(2, 50, 20_000).astype(np.uint16)
    tokens[::100] = 1
    sample = Sample(tokens=tokens, begin=0)
    for seed in range(20):
        planned = tapes(sample, tokens, np.random.default_rng(seed), promise)
        shared = sum(variant.kind == "changed" for variant in planned)
        assert len(planned) - shared + 1 == PROBES[promise] and shared <= 3
