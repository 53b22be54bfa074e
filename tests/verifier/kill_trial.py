"""Kills a run with SIGKILL at random points and looks at what it left; for the test and by hand.

Every kill is one start of the harness with --resume. The harness, one process of its sandbox, or
both die; then everything that was finished must still be there, byte for byte, and nothing that
was not finished may pass for it.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from tiny_track import HONEST_SCRIPT, README, TINY_TOKENS, tiny_track, write_shard

from verifier.errors import RunDirectoryError
from verifier.rulebook import rules_folder
from verifier.runs.journal import read_record
from verifier.schemas.run_record_json import Evidence, RunPlan, SeedMeasurement

PROGRAM = Path(sys.executable).with_name("pgolf-verify")
SEEDS = (1, 2, 3)
RECORDS = {
    "plan.json": RunPlan,
    "measurement.json": SeedMeasurement,
    "evidence.json": Evidence,
}
VICTIMS = ("harness", "child", "both")
GOING_SECONDS = 60
LONGEST_RUN_SECONDS = 240


@dataclass(kw_only=True)
class Tally:
    """What the kills hit."""

    calm_seconds: float = 0.0
    """What a run takes that nobody kills."""
    kills: int = 0
    by_victim: dict[str, int] = field(default_factory=dict)
    by_finished: dict[int, int] = field(default_factory=dict)
    """How many seeds were finished when it came."""
    runs_completed: int = 0
    most_orphans: int = 0
    """Processes of sandboxes at once whose harness was dead, before the next start ended them."""
    wrongs: list[str] = field(default_factory=list)


def make_workplace(folder: Path) -> Path:
    """Rules with the tiny track, its data, and an honest submission."""
    rules = folder / "site" / "rules"
    shutil.copytree(rules_folder(), rules, ignore=shutil.ignore_patterns("corpora", "__pycache__"))
    (rules / "tracks" / "tiny.yaml").write_text(yaml.safe_dump(tiny_track()))
    dataset = folder / "data" / "datasets" / "tiny_sp64"
    dataset.mkdir(parents=True)
    write_shard(dataset / "fineweb_train_000000.bin", 5_000)
    write_shard(dataset / "fineweb_val_000000.bin", TINY_TOKENS + 1)
    (folder / "data" / "tokenizers").mkdir()
    (folder / "data" / "tokenizers" / "tiny_64_bpe.model").write_bytes(b"tokenizer")
    (folder / "submission").mkdir()
    (folder / "submission" / "train_gpt.py").write_text(HONEST_SCRIPT)
    (folder / "submission" / "README.md").write_text(README)
    return folder


def start(workplace: Path, out: Path) -> subprocess.Popen[str]:
    words = ["run", str(workplace / "submission"), "--track", "tiny"]
    words += ["--data", str(workplace / "data"), "--seeds", ",".join(map(str, SEEDS))]
    return subprocess.Popen(
        [PROGRAM, *words, "--out", str(out), "--resume", "-q"],
        env=os.environ | {"PYTHONPATH": f"{workplace / 'site'}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at_random(workplace: Path, num_kills: int, chance: random.Random) -> Tally:
    """Kill runs until there were so many kills; each run is resumed until it is complete."""
    tally, number = Tally(), 0
    began = time.monotonic()
    start(workplace, workplace / "calm").communicate(timeout=LONGEST_RUN_SECONDS)
    tally.calm_seconds = time.monotonic() - began
    while tally.kills < num_kills:
        number += 1
        out = workplace / f"out{number}"
        while tally.kills < num_kills and not complete(out):
            kill_once(workplace, out, chance, tally)
        finish(workplace, out, tally)
        shutil.rmtree(out)
    return tally


def kill_once(workplace: Path, out: Path, chance: random.Random, tally: Tally) -> None:
    before, victim = finished(out), chance.choice(VICTIMS)
    harness = start(workplace, out)
    time.sleep(chance.uniform(0.1, tally.calm_seconds))
    if harness.poll() is None:
        num_finished = len(finished(out))
        kill(harness, victim, chance)
        tally.kills += 1
        tally.by_victim[victim] = tally.by_victim.get(victim, 0) + 1
        tally.by_finished[num_finished] = tally.by_finished.get(num_finished, 0) + 1
    _, errors = harness.communicate(timeout=LONGEST_RUN_SECONDS)
    tally.most_orphans = max(tally.most_orphans, len(orphans()))
    # A sandbox whose own processes die under it cannot be trusted; that is said and ends the run.
    distrusted = harness.returncode == 4 and victim != "harness" and "sandbox" in errors
    if harness.returncode not in (0, -signal.SIGKILL) and not distrusted:
        tally.wrongs.append(f"exit code {harness.returncode}: {errors}")
    after = finished(out)
    tally.wrongs += [
        f"{seed} was lost or changed" for seed in before if after.get(seed) != before[seed]
    ]
    tally.wrongs += half_written(out)


def kill(harness: subprocess.Popen[str], victim: str, chance: random.Random) -> None:
    children = psutil.Process(harness.pid).children(recursive=True) if victim != "harness" else []
    if victim != "child" or not children:
        harness.kill()
    if children:
        try:
            chance.choice(children).kill()
        except psutil.NoSuchProcess:
            return


def orphans() -> list[str]:
    """Processes of sandboxes, by the name that tells the number of their harness, now dead."""
    processes = psutil.process_iter(["cmdline"])
    names = [(p.info["cmdline"] or [""])[0] for p in processes]
    owned = [name for name in names if name.startswith("pgolf-sandbox-")]
    return [name for name in owned if not psutil.pid_exists(int(name.split("-")[3]))]


def lasting_orphans() -> list[str]:
    """Those that are there after a while: what was killed takes a moment to go."""
    deadline = time.monotonic() + GOING_SECONDS
    while (left := orphans()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def finished(out: Path) -> dict[str, bytes]:
    """What stands as finished, by the name of its seed."""
    return {path.parent.name: path.read_bytes() for path in out.glob("seed_*/measurement.json")}


def complete(out: Path) -> bool:
    return (out / "evidence.json").exists()


def half_written(out: Path) -> list[str]:
    """Records that are there under their own name and are not whole."""
    wrongs = []
    for name, model in RECORDS.items():
        for path in out.rglob(name):
            try:
                read_record(path, model)
            except RunDirectoryError as error:
                wrongs.append(str(error))
    return wrongs


def finish(workplace: Path, out: Path, tally: Tally) -> None:
    """Let the run go to its end: every seed is there, and nothing of a killed one besides."""
    _, errors = start(workplace, out).communicate(timeout=LONGEST_RUN_SECONDS)
    if not complete(out) or len(finished(out)) != len(SEEDS):
        tally.wrongs.append(f"did not complete: {errors}")
    left = [path for pattern in ("work", ".*", "probe") for path in out.rglob(pattern)]
    tally.wrongs += [f"{path} was left behind" for path in left]
    tally.wrongs += [f"{name} lives on" for name in lasting_orphans()]
    tally.runs_completed += 1
