"""Both sides of the contract at once: a recipe becomes a folder, the folder is run and judged.

The demo in small: a prior record and a better recipe are trained for a few steps on the demo's own
data; the verifier, which shares no code with the trainer, re-runs the better one and accepts it.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from verifier.rulebook import rules_folder

BIN = Path(sys.executable).parent
SHORT = ["--set", "NUM_LAYERS=1", "--set", "TRAIN_LOG_EVERY=8"]


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    arguments = [str(BIN / str(words[0])), *map(str, words[1:])]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=240)


def train(folder: Path, recipe: str, *changes: str) -> dict:
    made = command(
        *("pgolf-train", recipe, "--data", "data", "--seeds", "1,2,3", "--out", recipe, "-q"),
        *(*SHORT, *changes),
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    return json.loads((folder / recipe / "submission.json").read_text())


def short_ledger(prior: dict, rules: Path) -> None:
    """The demo's ledger with the prior record as it is after so few steps."""
    path = rules / "records" / "demo.yaml"
    ledger = yaml.safe_load(path.read_text())
    for seed, (number, result) in zip(
        ledger["records"][0]["seeds"], prior["seed_results"].items(), strict=True
    ):
        seed |= {"seed": int(number), "val_bpb": result["val_bpb"]}
    path.write_text(yaml.safe_dump(ledger))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    built = command(
        "pgolf-train", "data", "build", "--corpus", "jargon", "--out", "data", cwd=folder
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_trained_folder_is_run_judged_and_accepted(workplace, monkeypatch):
    prior = train(workplace, "demo_baseline", "--set", "ITERATIONS=6")
    better = train(workplace, "demo", "--set", "ITERATIONS=40", "--set", "WARMDOWN_ITERS=20")
    # A gap far over seed noise: the verifier's seeds follow from the folder's hash, new each time.
    assert better["val_bpb"] < prior["val_bpb"] - 0.3
    shutil.copytree(rules_folder(), workplace / "site" / "rules")
    short_ledger(prior, workplace / "site" / "rules")
    monkeypatch.setenv("PYTHONPATH", str(workplace / "site"))
    words = ("pgolf-verify", "demo", "--track", "demo", "--data", "data", "--format", "json")
    judged = command(*words, "--out", "run", cwd=workplace)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    verdict = json.loads(judged.stdout)
    assert verdict["verdict"] == "accepted"
    assert {m["score_origin"] for m in verdict["measurements"]} == {"token_losses"}
    assert verdict["significance"]["p_value"] < 0.01
    again = command("pgolf-verify", "judge", "run", "--format", "json", cwd=workplace)
    assert json.loads(again.stdout) == verdict


def test_the_shipped_submissions_pass_on_paper():
    root = Path(__file__).parents[2]
    for name in ("demo_baseline", "demo"):
        checked = command(
            "pgolf-verify",
            "check",
            f"submissions/{name}",
            "--track",
            "demo",
            "--format",
            "json",
            cwd=root,
        )
        verdict = json.loads(checked.stdout)
        assert [r["rule"] for r in verdict["rules"] if r["outcome"] == "broken"] == []
