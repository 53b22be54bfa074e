"""Whatever is handed in, the answer is one line, the right exit code, and nothing is lost."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_track import HONEST_SCRIPT, TINY_TOKENS, write_shard

from verifier.errors import RunDirectoryError
from verifier.intake.submission import load_submission
from verifier.runs import delivery

SEED = ("--seeds", "7")
CRASH_OR_LIMIT = {
    "crashes": ("raise RuntimeError('no such luck')", "crash", "no such luck"),
    "syntax": ("def", "crash", "SyntaxError"),
    "exit_code": ("raise SystemExit(3)", "crash", "exit code 3"),
    "segfault": ("import os; os.kill(os.getpid(), 11)", "crash", "killed by signal 11"),
    "torchrun": (
        "print('RuntimeError: CUDA is required')\n"
        "print('E1122 05:20:23 2 torch/distributed/elastic/multiprocessing/api.py:1002] failed')\n"
        "raise SystemExit('raise ChildFailedError(')",
        "crash",
        "last words: RuntimeError: CUDA is required",
    ),
    "silent": ("pass", "crash", "ended without a final score"),
    "nan": (HONEST_SCRIPT.replace("bpb:{bits_per_byte:.8f}", "bpb:nan"), "crash", "no positive"),
    "prints": ("while True: print('x' * 4096)", "violation", "printed more than"),
    "binary": ("import os\nwhile True: os.write(1, os.urandom(4096))", "violation", "printed"),
    "forks": (
        "import os, time\nwhile True:\n    try: os.fork()\n    except OSError: time.sleep(9)",
        "violation",
        "processes",
    ),
    "fills": (
        "i = 0\nwhile True: i += 1; open(str(i), 'wb').write(bytes([1]) * 2**20)",
        "violation",
        "wrote more than",
    ),
    "hoards": ("import time; held = b'x' * 2**29; time.sleep(60)", "violation", "bytes"),
}
AT_THE_WALL = {
    "hangs": ("import time; time.sleep(600)", "violation", "ran past 3 s"),
    "rank": (
        "import time\nprint('RuntimeError: no GPU')\n"
        "print('E1122 05:20:23 2 torch/distributed/elastic/multiprocessing/api.py:1002] failed '\n"
        "'(exitcode: 1) local_rank: 1 (pid: 9) of binary: python', flush=True)\ntime.sleep(600)",
        "crash",
        "last words: RuntimeError: no GPU",
    ),
}


def one_line(result, exit_code: int, message: str) -> None:
    assert result.exit_code == exit_code, result.output
    assert message in result.stderr
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("sandbox ")]
    assert line.startswith(("pgolf-verify: ", "Usage", "Error"))
    assert result.stdout == ""


@pytest.mark.parametrize("how", CRASH_OR_LIMIT)
def test_a_run_that_fails_is_recorded_with_its_reason(pgolf, make_submission, measured, how):
    script, outcome, reason = CRASH_OR_LIMIT[how]
    result = pgolf("run", make_submission(script), *SEED)
    assert result.exit_code == 0, result.stderr
    assert measured(7).outcome == outcome
    assert reason in measured(7).detail
    assert len(measured(7).detail) <= 300


@pytest.mark.parametrize("how", AT_THE_WALL)
def test_a_run_that_hangs_is_ended_at_the_wall(pgolf, make_submission, measured, how, monkeypatch):
    # A wall that is met on a crowded machine shows nothing; here it shall, whatever else runs.
    monkeypatch.setattr("verifier.runs.machine.faults._crowded_out", lambda *_: None)
    script, outcome, reason = AT_THE_WALL[how]
    assert pgolf("run", make_submission(script), *SEED, "--track", "tiny_hurried").exit_code == 0
    assert measured(7).outcome == outcome
    assert reason in measured(7).detail


def test_a_failed_run_rejects(pgolf, make_submission):
    result = pgolf("verify", make_submission("raise SystemExit(1)"), *SEED, "--format", "json")
    assert result.exit_code == 1
    broken = [r["rule"] for r in json.loads(result.stdout)["rules"] if r["outcome"] == "broken"]
    assert broken == ["failed_run"]


def test_a_seed_that_crashes_does_not_keep_the_next_from_running(pgolf, make_submission, measured):
    script = "import os\nassert os.environ['SEED'] != '1'\n" + HONEST_SCRIPT
    assert pgolf("run", make_submission(script), "--seeds", "1,2").exit_code == 0
    assert (measured(1).outcome, measured(2).outcome) == ("crash", "completed")


def test_no_such_folder(pgolf, tmp_path):
    one_line(pgolf("run", tmp_path / "none"), 2, "no such file or folder")


def test_an_empty_folder(pgolf, tmp_path):
    (tmp_path / "empty").mkdir()
    one_line(pgolf("run", tmp_path / "empty"), 2, "holds no file that can be read")


def test_a_folder_without_a_script(pgolf, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "README.md").write_text("hello")
    one_line(pgolf("run", tmp_path / "bare"), 2, "no training script to run")


@pytest.mark.parametrize(
    "text", ["{", "[" * 50_000, '{"a": ' * 50_000, "9" * 1_000_000, "\x00\xff"]
)
def test_a_submission_json_of_any_kind_stops_no_run(pgolf, make_submission, measured, text):
    assert pgolf("run", make_submission(files={"submission.json": text}), *SEED).exit_code == 0
    assert measured(7).outcome == "completed"


def test_names_that_are_not_text_are_refused_in_one_line(pgolf, make_submission):
    submission = make_submission()
    Path(os.fsdecode(os.fsencode(submission) + b"/od\xffd\n.bin")).write_bytes(b"x")
    result = pgolf("run", submission, *SEED)
    assert result.exit_code == 4
    assert "cannot be handed to the run" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("pgolf-verify: ")


def test_a_folder_whose_name_is_not_text_is_run_under_a_printable_one(pgolf, make_submission):
    folder = make_submission()
    odd = folder.rename(os.fsdecode(os.fsencode(folder) + b"\xff\x1b"))
    result = pgolf("verify", odd, *SEED, "--format", "json")
    assert result.exit_code == 3, result.stderr  # a named seed never accepts
    assert json.loads(result.stdout)["submission"] == "submission\\xff\x1b"


HUGE_LOG = """
import resource, sys
from click.testing import CliRunner
from verifier.cli import cli
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = CliRunner().invoke(cli, ["check", sys.argv[1], "--format", "json"])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(result.exit_code, grown // 1024)
"""


@pytest.mark.parametrize(
    "num_bytes", [50_000_000, pytest.param(500_000_000, marks=pytest.mark.slow)]
)
def test_a_huge_log_needs_little_memory(make_submission, num_bytes):
    submission = make_submission()
    with (submission / "train.log").open("wb") as log:
        log.write(b"step:1/2 train_loss:1.0 train_time:5ms\n" * 200_000)
        log.truncate(num_bytes)
    words = [sys.executable, "-c", HUGE_LOG, str(submission)]
    result = subprocess.run(words, capture_output=True, text=True)
    exit_code, grown_mib = map(int, result.stdout.split())
    assert exit_code in (1, 3), result.stderr
    assert grown_mib < 150


def test_missing_data_says_how_to_get_it(pgolf, make_submission, tmp_path):
    result = pgolf("run", make_submission(), "--data", tmp_path / "none")
    one_line(result, 4, "no track data there; bring it with 'make data'")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda shard: write_shard(shard, TINY_TOKENS, magic=1), "not a token shard"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-2]), "it was cut or damaged"),
        (lambda shard: shard.write_bytes(b""), "too few for a token shard"),
        (lambda shard: shard.unlink(), "no fineweb_val_*.bin there"),
    ],
    ids=["magic", "cut", "empty", "absent"],
)
def test_a_damaged_shard_is_named(pgolf, make_submission, data, harm, message):
    harm(data / "datasets" / "tiny_sp64" / "fineweb_val_000000.bin")
    one_line(pgolf("run", make_submission()), 4, message)


def test_a_missing_tokenizer_is_named(pgolf, make_submission, data):
    (data / "tokenizers" / "tiny_64_bpe.model").unlink()
    one_line(pgolf("run", make_submission()), 4, "no tokenizer of tiny_sp64 there")


def test_no_bubblewrap_means_no_run(pgolf, make_submission, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "/nonexistent")
    one_line(pgolf("run", make_submission()), 4, "bubblewrap is missing")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "none"), "no profile 'none': there are"),
        (("--seeds", "1,x"), "give whole numbers"),
        (("--seeds", ""), "give whole numbers"),
        (("--seeds", "1,1"), "give each seed once"),
        (("--seeds", "-1"), "between 0 and"),
        (("--seeds", "9" * 30), "between 0 and"),
        (("--env", "NAME"), "give NAME=VALUE"),
        (("--env", "=1"), "give NAME=VALUE"),
        (("--env", "A" * 200_000 + "=1"), "cannot be started"),
    ],
)
def test_options_that_mean_nothing(pgolf, make_submission, arguments, message):
    result = pgolf("run", make_submission(), *arguments)
    assert result.exit_code in (2, 4)
    assert message in result.stderr
    assert len(result.stderr.splitlines()[-1]) < 2_500


def test_an_unknown_record_is_named_before_anything_runs(pgolf, make_submission, tmp_path):
    result = pgolf("run", make_submission(), "--against", "pr999999", "--track", "10min_16mb")
    one_line(result, 2, "pr999999: no such record on track 10min_16mb")
    assert not (tmp_path / "out").exists()


def test_an_unknown_track_is_named(pgolf, make_submission):
    result = pgolf("run", make_submission(), "--track", "nope")
    one_line(result, 2, "no track 'nope': there are 10min_16mb")


@pytest.mark.parametrize("place", ["file", "/proc/none", "file/below"])
def test_an_unwritable_out_is_one_line(pgolf, make_submission, tmp_path, place):
    (tmp_path / "file").touch()
    one_line(pgolf("run", make_submission(), "--out", tmp_path / place), 4, "give another --out")


def test_harness_memory_does_not_grow_with_output(start_pgolf, make_submission):
    harness = start_pgolf(make_submission("print('x' * 100 + '\\n' * 100_000)"), *SEED)
    peak_kilobytes = 0
    while harness.poll() is None:
        # Not ru_maxrss, which holds what pytest weighed when it forked.
        status = Path(f"/proc/{harness.pid}/status").read_text()
        peak_kilobytes = max([peak_kilobytes, *map(int, re.findall(r"VmHWM:\s+(\d+)", status))])
        time.sleep(0.005)
    assert harness.returncode == 0, harness.stderr.read()
    assert 20 * 1024 < peak_kilobytes < 200 * 1024


FAILS_ON_RANK_1 = """
import os
assert os.environ["RANK"] == "0", "this rank has no GPU"
"""


def test_one_rank_that_fails_is_a_crash_in_a_few_words(pgolf, make_submission, measured):
    submission = make_submission(FAILS_ON_RANK_1)
    track = ("--track", "tiny_torchrun")  # which takes seconds and memory to start
    pgolf("run", submission, *SEED, "--gpus", "2", "--trusted-plain-process", *track)
    assert measured(7).outcome == "crash"
    assert "this rank has no GPU" in measured(7).detail


def test_of_two_final_lines_the_last_one_counts(pgolf, make_submission, measured):
    script = HONEST_SCRIPT + 'print("final_sliding_window val_loss:1.5 val_bpb:1.75")\n'
    pgolf("run", make_submission(script), *SEED)
    assert measured(7).val_bpb == 1.75


def test_a_final_line_that_cannot_be_read_is_named(pgolf, make_submission, measured):
    script = HONEST_SCRIPT.replace("val_bpb:{bits_per_byte:.8f}", "val_bpb:1.2.3")
    pgolf("run", make_submission(script), *SEED)
    assert "looks like one and is none" in measured(7).detail


def test_a_disk_that_is_full_when_a_run_is_prepared_is_told_of_with_a_way_out(
    make_submission, monkeypatch, tmp_path
):
    def full(source, target, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    submission = load_submission(make_submission())
    monkeypatch.setattr(delivery.shutil, "copyfile", full)
    with pytest.raises(RunDirectoryError, match="No space left on device; finished seeds are kept"):
        delivery.deliver_submission(submission, tmp_path / "work")
