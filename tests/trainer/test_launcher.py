import fcntl
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from trainer.errors import LaunchError, PausedError
from trainer.launcher import Launch, run_seed, seed_log


@pytest.fixture
def launch(tmp_path):
    def of(code):
        script = tmp_path / "script.py"
        script.write_text(code)
        return Launch(
            script=script,
            log_folder=tmp_path,
            data_path=Path("data"),
            tokenizer_path=Path("tokens"),
            num_gpus=None,
        )

    return of


def test_the_script_sees_its_seed_its_data_under_public_names_and_the_machines_settings(
    launch, monkeypatch
):
    monkeypatch.setenv("NUM_LAYERS", "3")
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    code = (
        "import os; print(os.environ['SEED'], os.environ['DATA_PATH'], sorted(os.listdir()),"
        " 'NUM_LAYERS' in os.environ, os.environ['NCCL_NVLS_ENABLE'])"
    )
    lines = []
    run_seed(launch(code), 42, lines.append)
    assert lines == ["42 ./data/datasets/data ['data', 'train_gpt.py'] False 0"]


def test_the_log_is_what_was_printed_and_nothing_else_stays(launch, tmp_path):
    code = "import sys; print('a'); print('b', file=sys.stderr); open('weights', 'w').close()"
    run_seed(launch(code), 1, lambda line: None)
    assert sorted(seed_log(tmp_path, 1).read_text().split()) == ["a", "b"]
    assert {path.name for path in tmp_path.iterdir()} == {"script.py", "train_seed1.log"}


def test_a_run_that_fails_says_its_last_words_and_leaves_no_log(launch, tmp_path):
    code = "import sys; print('one'); print('two'); sys.exit('three')"
    with pytest.raises(LaunchError, match=r"seed 1: .* exit code 1: one \| two \| three"):
        run_seed(launch(code), 1, lambda line: None)
    assert not seed_log(tmp_path, 1).exists()
    assert (tmp_path / "train_seed1.log.partial").is_file()


@pytest.mark.parametrize("num_processes", [2, 8])
def test_a_lost_process_is_named_with_its_last_words(launch, num_processes):
    lost = num_processes - 1
    code = (
        "import os, sys, time\n"
        "print('rank', os.environ['RANK'], flush=True)\n"
        f"if os.environ['RANK'] == '{lost}':\n"
        "    print('oh no', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)\n"
        "time.sleep(60)"
    )
    said = rf"process {lost} ended with signal SIGKILL .*rank {lost} \| oh no"
    with pytest.raises(LaunchError, match=said):
        run_seed(replace(launch(code), num_gpus=num_processes), 1, lambda line: None)


def test_the_first_process_is_named_with_its_own_last_words(launch):
    with pytest.raises(LaunchError, match="process 0 ended with exit code 3: two; its output"):
        run_seed(replace(launch("print('two'); exit(3)"), num_gpus=1), 1, lambda line: None)


def test_the_state_of_a_diverged_run_is_kept_beside_its_log(launch, tmp_path):
    code = "open('diverged_rank0.pt', 'w').write('state'); exit(4)"
    with pytest.raises(LaunchError, match="diverged_rank0.pt is kept as"):
        run_seed(launch(code), 1, lambda line: None)
    assert (tmp_path / "train_seed1.diverged_rank0.pt").read_text() == "state"


def test_when_the_watcher_gives_up_the_process_and_its_children_end(launch, tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    pids = []

    def give_up(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(launch(code), 1, give_up)
    child = psutil.Process(pids[0]) if psutil.pid_exists(pids[0]) else None
    assert child is None or has_ended(child)


def has_ended(process):
    """Killed processes take a moment to go, and stay as zombies where nobody collects them."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


SAYS_WRITTEN = "print('phase:serialise seconds:0', flush=True)"
TWO_PARTS = """
import os, pathlib, sys
verb, kept = sys.argv[1], pathlib.Path(os.environ["CHECKPOINT_FOLDER"])
print(verb, float(os.environ.get("STOP_AFTER_SECONDS", 0)) > 0, flush=True)
if verb == "evaluate":
    print(pathlib.Path("final_model.int8.ptz").read_text())
elif kept.is_dir():
    pathlib.Path("final_model.int8.ptz").write_text("weights")
    print("phase:serialise seconds:0")
else:
    kept.mkdir(parents=True)
    print("paused:step:3")
"""


def test_a_run_that_pauses_goes_on_in_the_next_command_with_one_log(launch, tmp_path):
    timed = replace(launch(TWO_PARTS), stop_at=time.monotonic() + 600)
    with pytest.raises(PausedError, match="seed 1: the time .* --resume"):
        run_seed(timed, 1, lambda line: None)
    assert not seed_log(tmp_path, 1).exists()
    run_seed(timed, 1, lambda line: None)
    words = seed_log(tmp_path, 1).read_text().split()
    assert words == [
        *("train", "True", "paused:step:3", "train", "True", "phase:serialise", "seconds:0"),
        *("evaluate", "False", "weights"),
    ]
    assert not (tmp_path / "checkpoints" / "seed_1").exists()


def test_when_time_is_over_after_training_the_next_command_only_evaluates(
    launch, tmp_path, monkeypatch
):
    packs = f"open('final_model.int8.ptz', 'w').close(); {SAYS_WRITTEN}"
    script = f"import sys\nprint(sys.argv[1])\nif sys.argv[1] == 'train':\n    {packs}"
    left = iter([9, 9, 0, 9])  # before and in training, and before evaluation; then the next day
    monkeypatch.setattr("trainer.launcher.seconds_left", lambda launch: next(left))
    timed = replace(launch(script), stop_at=0.0)
    with pytest.raises(PausedError):
        run_seed(timed, 1, lambda line: None)
    run_seed(timed, 1, lambda line: None)
    words = seed_log(tmp_path, 1).read_text().split()
    assert words == ["train", "phase:serialise", "seconds:0", "evaluate"]


@pytest.mark.parametrize("end", ["sys.exit('no space left')", "time.sleep(600)"])
def test_what_is_cut_off_while_it_evaluates_goes_on_from_its_artifact(launch, tmp_path, end):
    """Once it was trained, neither a failure nor Ctrl-C loses it."""
    script = (
        "import pathlib, sys, time\nweights = pathlib.Path('final_model.int8.ptz')\n"
        f"if not sys.argv[1:]:\n    weights.write_text('kept'); {SAYS_WRITTEN}\n"
        f"    print('half', flush=True); {end}\nprint(sys.argv[1], weights.read_text())"
    )

    def watch(line):
        if line == "half" and "sleep" in end:
            raise KeyboardInterrupt

    with pytest.raises((LaunchError, KeyboardInterrupt)):
        run_seed(launch(script), 1, watch)
    lines = []
    run_seed(launch(script), 1, lines.append)
    kept = tmp_path / "checkpoints" / "seed_1"
    assert lines == [f"goes on from the artifact that {kept} kept", "evaluate kept"]
    assert not kept.exists()


def test_no_process_is_started_when_the_time_is_over(launch, tmp_path):
    with pytest.raises(PausedError):
        run_seed(replace(launch("print('ran')"), stop_at=time.monotonic()), 1, print)
    assert not list(tmp_path.glob("*.partial"))


KILLED = """
import os, signal, sys
from pathlib import Path
from trainer.launcher import Launch, run_seed
def kill_us(line):
    print(line, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
script = Path(sys.argv[1])
gpus = int(sys.argv[2]) or None
paths = {"data_path": Path("data"), "tokenizer_path": Path("tokens")}
run_seed(Launch(script=script, log_folder=script.parent, num_gpus=gpus, **paths), 1, kill_us)
"""


@pytest.mark.parametrize("num_processes", [0, 2])
def test_no_process_outlives_a_command_that_is_killed(launch, tmp_path, monkeypatch, num_processes):
    """As a scheduler kills: no handler of ours runs, and a score may be minutes from its end."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "import os, time\n"
        "if os.environ.get('RANK', '0') == '0': print(os.getpid(), flush=True)\n"
        "time.sleep(600)"
    )
    words = [sys.executable, "-c", KILLED, launch(code).script, str(num_processes)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
        script = psutil.Process(int(command.stdout.readline()))
    assert has_ended(script)
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert list(tmp_path.glob("pgolf-train-*"))
    run_seed(launch("print('again')"), 2, lambda line: None)
    assert not list(tmp_path.glob("pgolf-train-*"))


@pytest.mark.parametrize("num_processes", [None, 1, 2])
def test_nothing_stays_in_the_folder_of_temporary_files(
    launch, tmp_path, monkeypatch, num_processes
):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    run_seed(replace(launch("print('ran')"), num_gpus=num_processes), 1, lambda line: None)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_scratch_folder_that_is_held_is_left_alone(launch, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held = tmp_path / "pgolf-train-other"
    held.mkdir()
    with (held / "holder").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        run_seed(launch("print('ran')"), 1, lambda line: None)
        assert held.is_dir()


def test_whoever_says_stop_twice_ends_the_processes_that_torchrun_started(launch, monkeypatch):
    """Each has a session of its own, so that killing torchrun alone would leave them."""
    pids = []

    def give_up(line):
        pids.append(int(line))
        raise KeyboardInterrupt

    def again(process, timeout=None):
        if timeout is not None:
            raise KeyboardInterrupt
        return wait(process)

    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", again)
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.environ['RANK'] == '0': print(os.getpid(), flush=True)\n"
        "time.sleep(600)"
    )
    with pytest.raises(KeyboardInterrupt):
        run_seed(replace(launch(code), num_gpus=2), 1, give_up)
    assert not psutil.pid_exists(pids[0]) or has_ended(psutil.Process(pids[0]))
