"""The run directory outlives the harness: whatever ends it, finished seeds are kept."""

import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from tiny_track import HONEST_SCRIPT

from verifier.errors import RunDirectoryError
from verifier.runs.journal import Journal, write_record

SEEDS = ("--seeds", "1,2,3")
# The second seed waits for a file that the harness knows nothing of; the others run through.
WAITS_AT_TWO = (
    "import os, pathlib, time\n"
    "go = pathlib.Path(os.environ['DATA_PATH'], 'go')\n"
    "if os.environ['SEED'] == '2' and not go.exists():\n"
    "    pathlib.Path('shut').mkdir(mode=0)\n"
    "    time.sleep(600)\n"
) + HONEST_SCRIPT


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def until(condition, harness=None):
    deadline = time.monotonic() + 120
    while not condition():
        assert harness is None or harness.poll() is None, harness.communicate()
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)


def runs_below(workdir: Path) -> list[int]:
    """Processes whose command line names the workdir: bubblewrap's own."""
    return [
        p.pid for p in psutil.process_iter(["cmdline"]) if str(workdir) in (p.info["cmdline"] or ())
    ]


def waiting(out: Path) -> bool:
    return bool(runs_below(out / "seed_2" / "work")) and (out / "seed_2" / "work" / "shut").exists()


def measurements(out: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in out.glob("seed_*/measurement.json")}


def test_a_killed_harness_loses_no_finished_seed(start_pgolf, pgolf, make_submission, out, data):
    submission = make_submission(WAITS_AT_TWO)
    harness = start_pgolf(submission, *SEEDS)
    until(lambda: waiting(out), harness)
    before = measurements(out)
    harness.kill()
    harness.communicate()
    until(lambda: not runs_below(out / "seed_2" / "work"))
    (data / "datasets" / "tiny_sp64" / "go").touch()
    resumed = pgolf("run", submission, *SEEDS, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert list(before) == ["seed_1"]
    assert len(measurements(out)) == 3
    assert measurements(out)["seed_1"] == before["seed_1"]
    assert resumed.stderr.count("not run again") == 1
    assert not list(out.rglob("work")) and not list(out.rglob(".*"))


def test_what_a_seed_said_is_on_disk_while_it_runs(start_pgolf, make_submission, out):
    script = (
        "import time\nprint('step:1/9 train_loss:6.9 train_time:5ms', flush=True)\ntime.sleep(600)"
    )
    harness = start_pgolf(make_submission(script), "--seeds", "1")
    until(
        lambda: b"step:1/9" in b"".join(p.read_bytes() for p in out.glob("seed_1/*.log")), harness
    )
    harness.kill()
    harness.communicate()
    assert "step:1/9" in (out / "seed_1" / "events.jsonl").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_no_child_and_says_how_to_go_on(
    start_pgolf, make_submission, out, number
):
    harness = start_pgolf(make_submission(WAITS_AT_TWO), *SEEDS)
    until(lambda: waiting(out), harness)
    harness.send_signal(number)
    stdout, stderr = harness.communicate(timeout=120)
    assert harness.returncode == 130
    assert "--resume" in stderr.splitlines()[-1]
    assert stdout == ""
    assert not runs_below(out / "seed_2" / "work")
    assert sorted(path.name for path in (out / "seed_2").iterdir()) == [
        *("events.jsonl", "stdout.log", "telemetry.jsonl")
    ]
    assert list(measurements(out)) == ["seed_1"]


def test_a_second_harness_keeps_out(start_pgolf, pgolf, make_submission, out):
    submission = make_submission(WAITS_AT_TWO)
    harness = start_pgolf(submission, *SEEDS)
    until(lambda: waiting(out), harness)
    second = pgolf("run", submission, *SEEDS, "--resume")
    harness.kill()
    harness.communicate()
    assert second.exit_code == 4
    assert "another pgolf-verify is at work there" in second.stderr


def test_resuming_repeats_no_finished_seed(pgolf, make_submission, out):
    submission = make_submission()
    assert pgolf("run", submission, "--seeds", "1,2").exit_code == 0
    before = measurements(out)
    shutil.rmtree(out / "seed_2")
    assert pgolf("run", submission, "--seeds", "1,2", "--resume").exit_code == 0
    after = measurements(out)
    assert after["seed_1"] == before["seed_1"]
    assert json.loads(after["seed_2"])["val_bpb"] == json.loads(before["seed_2"])["val_bpb"]


def test_the_same_plan_again_needs_the_word_resume(pgolf, make_submission):
    submission = make_submission()
    pgolf("run", submission, "--seeds", "1")
    again = pgolf("run", submission, "--seeds", "1")
    assert again.exit_code == 4
    assert "--resume" in again.stderr


@pytest.mark.parametrize("change", [("--seeds", "2"), ("--seeds", "1", "--env", "STEPS=5")])
def test_another_plan_is_refused(pgolf, make_submission, change):
    submission = make_submission()
    pgolf("run", submission, "--seeds", "1")
    other = pgolf("run", submission, "--resume", *change)
    assert other.exit_code == 4
    assert "another plan" in other.stderr


@pytest.mark.parametrize(("hashed", "is_same"), [(True, True), (False, False)])
def test_data_that_moved_is_the_same_where_hashes_say_so(
    pgolf, make_submission, out, hashed, is_same
):
    pgolf("run", make_submission(), "--seeds", "1")
    plan = Journal(out).plan()
    files = [file.model_copy(update={"sha256": "0" * 64 if hashed else None}) for file in plan.data]
    plan = plan.model_copy(update={"data": tuple(files)})
    write_record(out / "plan.json", plan)
    moved = plan.model_copy(update={"data_folder": "/elsewhere"})
    with nullcontext() if is_same else pytest.raises(RunDirectoryError, match="another plan"):
        Journal(out).begin(moved, resume=True)


@pytest.mark.parametrize("content", ["", "{", '{"seed": 1}', "[" * 100_000, "null"])
def test_a_torn_measurement_is_an_error_and_no_pass(pgolf, make_submission, out, content):
    submission = make_submission()
    pgolf("run", submission, "--seeds", "1")
    (out / "seed_1" / "measurement.json").write_text(content)
    result = pgolf("run", submission, "--seeds", "1", "--resume")
    assert result.exit_code == 4
    assert "damaged or of another version" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("pgolf-verify: ")


def test_half_written_files_are_written_over(pgolf, make_submission, out):
    submission = make_submission()
    (out / "seed_1").mkdir(parents=True)
    (out / "seed_1" / ".measurement.json.unfinished").write_text('{"seed": 1')
    (out / ".plan.json.unfinished").write_text("{")
    assert pgolf("run", submission, "--seeds", "1").exit_code == 0
    assert not list(out.rglob(".*"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from verifier.errors import RunDirectoryError
from verifier.runs.journal import SeedFiles, write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
write_atomically(folder / "kept.json", "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (
    lambda: write_atomically(folder / "kept.json", "x" * 5000),
    lambda: [files := SeedFiles(folder), files.line(0, b"x" * 50_000, False)],
    lambda: [files := SeedFiles(folder), files.line(0, b"x" * 5000, False), files.close()],
):
    try:
        write()
    except RunDirectoryError as error:
        print(error)
"""


def test_a_full_disk_is_one_line_and_keeps_what_was(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True
    )
    assert result.stdout.count("finished seeds are kept") == 3, result.stderr
    assert (tmp_path / "kept.json").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.jsonl", "kept.json", "stdout.log"]
