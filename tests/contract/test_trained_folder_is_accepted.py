"""Both sides of the contract at once: a recipe becomes a folder, the folder is run and judged.

The demo in small: its recipe is trained for a few steps on the demo's own data; the verifier, which
shares no code with the trainer, re-runs it and accepts it over a record that is worse by more than
any seed can be.
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


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    arguments = [str(BIN / str(words[0])), *map(str, words[1:])]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=800)


def train(folder: Path) -> dict:
    changes = ("NUM_LAYERS=1", "TRAIN_LOG_EVERY=8", "ITERATIONS=40", "WARMDOWN_ITERS=20")
    words = [word for change in changes for word in ("--set", change)]
    made = command(
        *("pgolf-train", "demo", "--data", "data", "--seeds", "1,2,3", "--out", "demo", "-q"),
        *words,
        cwd=folder,
    )
    assert made.returncode == 0, made.stderr
    return json.loads((folder / "demo" / "submission.json").read_text())


def write_worse_record(trained: dict, rules: Path) -> None:
    """The demo's ledger with a record that so few steps surpass, whichever seeds are drawn."""
    path = rules / "records" / "demo.yaml"
    ledger = yaml.safe_load(path.read_text())
    for seed, own in zip(
        ledger["records"][0]["seeds"], trained["seed_results"].values(), strict=True
    ):
        seed["val_bpb"] = own["val_bpb"] + 0.5
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
    trained = train(workplace)
    shutil.copytree(rules_folder(), workplace / "site" / "rules")
    write_worse_record(trained, workplace / "site" / "rules")
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
