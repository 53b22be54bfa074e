"""A seed from launch to measurement, with a script that is honest and with some that are not."""

import json
import struct

import pytest
from tiny_track import HONEST_SCRIPT, TINY_BYTES, TINY_TOKENS

from verifier.units import bits_per_byte

LIST_FILES = "import os\nprint('here', sorted(os.listdir('.')))\n" + HONEST_SCRIPT
CONTRACT = "artifact: [final_model.int8.ptz, extra.bin]\n"


def run_seed(pgolf, submission, *arguments):
    result = pgolf("run", submission, "--seeds", "7", *arguments)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.parametrize("how", [(), ("--trusted-plain-process",)], ids=["bubblewrap", "plain"])
def test_an_honest_script_is_measured(pgolf, make_submission, measured, how):
    run_seed(pgolf, make_submission(), *how)
    seed = measured(7)
    assert (seed.outcome, seed.exit_code, seed.script_seed) == ("completed", 0, 7)
    assert 2 < seed.val_bpb < 2.01
    assert seed.score_origin == "printed"
    assert seed.artifact_file == "final_model.int8.ptz"
    assert seed.artifact_bytes == seed.script_artifact_bytes
    assert seed.implied_bytes == pytest.approx(TINY_BYTES, rel=1e-6)


def test_code_is_counted_by_us_and_by_the_script(pgolf, make_submission, measured):
    run_seed(pgolf, make_submission())
    length = len(HONEST_SCRIPT.encode())
    assert (measured(7).code_bytes.as_logged, measured(7).code_bytes.literal) == (length, length)


# So slow that lines which a busy machine reads late are still read in their phase.
SLOW_SCRIPT = HONEST_SCRIPT.replace("sleep(0.02)", "sleep(0.3)").replace(
    "sleep(0.05)", "sleep(0.6)"
)


def test_phases_partition_the_wall_time(pgolf, make_submission, measured):
    run_seed(pgolf, make_submission(SLOW_SCRIPT))
    phases = measured(7).phases.model_dump(exclude={"calibration", "load"}, exclude_none=True)
    assert all(seconds >= 0 for seconds in phases.values())
    first_step_seconds = 0.02
    assert sum(phases.values()) == pytest.approx(
        measured(7).wall_seconds + first_step_seconds, abs=0.001
    )
    assert phases["training"] >= 0.1  # between lines 0.9 s apart, the first one read late
    assert phases["serialise"] >= 0.1 <= phases["evaluation"]  # 0.6 s each


def test_a_script_cannot_talk_its_training_shorter(pgolf, make_submission, measured):
    script = SLOW_SCRIPT.replace("train_time:{20 * step}ms", "train_time:-{20 * step}000ms")
    run_seed(pgolf, make_submission(script))
    assert measured(7).phases.training >= 0.1  # between lines 0.9 s apart, the first one read late


def test_the_same_seed_gives_the_same_score_and_another_another(pgolf, make_submission, measured):
    run = pgolf("run", make_submission(), "--seeds", "7,8")
    assert run.exit_code == 0
    assert measured(7).val_bpb != measured(8).val_bpb


def test_a_seed_repeated_agrees_in_all_that_it_gives(pgolf, make_submission, tmp_path):
    submission, seen = make_submission(), []
    for out in (tmp_path / "one", tmp_path / "other"):
        run_seed(pgolf, submission, "--out", out)
        seen.append(json.loads((out / "seed_7" / "measurement.json").read_text()))
    for name in ("val_bpb", "artifact_sha256", "losses_sha256", "num_steps", "scored_tokens"):
        assert seen[0][name] == seen[1][name] is not None


def test_what_states_a_score_is_withheld(pgolf, make_submission, tmp_path):
    files = {"submission.json": "{}", "train.log": "x", "helper.py": "", "vocab.txt": "a\n"}
    run_seed(pgolf, make_submission(LIST_FILES, files))
    log = (tmp_path / "out" / "seed_7" / "stdout.log").read_text()
    assert "here ['helper.py', 'train_gpt.py', 'vocab.txt']" in log


def test_the_log_is_kept_as_received_with_our_time_of_each_line(pgolf, make_submission, tmp_path):
    run_seed(pgolf, make_submission("print('one\\x1b[31m')\n" + HONEST_SCRIPT))
    folder = tmp_path / "out" / "seed_7"
    lines = (folder / "stdout.log").read_bytes().splitlines()
    events = [json.loads(line) for line in (folder / "events.jsonl").open()]
    assert lines[0] == b"one\x1b[31m"
    assert [event["line"].encode() for event in events] == lines
    assert sorted(e["seconds"] for e in events) == [e["seconds"] for e in events]


def test_nothing_of_the_workdir_stays(pgolf, make_submission, tmp_path):
    deep = (
        "import os; home = os.getcwd()\nfor _ in range(1200): os.mkdir('deep'); os.chdir('deep')\n"
        "os.chdir(home); os.mkdir('shut'); open('shut/f', 'w')\n"
        "os.symlink('/', 'shut/root'); os.chmod('shut', 0)\n"
    )
    pgolf("run", make_submission(deep + HONEST_SCRIPT), "--seeds", "7")
    left = sorted(path.name for path in (tmp_path / "out" / "seed_7").iterdir())
    records = ["SHA256SUMS", "events.jsonl", "measurement.json", "stdout.log", "telemetry.jsonl"]
    assert left == records


def test_a_prebuilt_artifact_is_none(pgolf, make_submission, measured):
    script = HONEST_SCRIPT.replace('Path("final_model.int8.ptz").write_bytes(artifact)', "")
    script = script.replace("random.randbytes(500 + random.randrange(100))", "bytes(500)")
    run_seed(pgolf, make_submission(script, {"final_model.int8.ptz": bytes(500)}))
    assert (measured(7).script_artifact_bytes, measured(7).artifact_bytes) == (500, None)


def test_an_artifact_of_another_size_than_claimed_is_not_recognised(
    pgolf, make_submission, measured
):
    script = HONEST_SCRIPT.replace("{len(artifact)} bytes", "{len(artifact) - 1} bytes")
    run_seed(pgolf, make_submission(script))
    assert measured(7).artifact_bytes is None


def test_a_contract_names_the_artifact(pgolf, make_submission, measured):
    script = HONEST_SCRIPT + "\nPath('extra.bin').write_bytes(bytes(40))\n"
    run_seed(pgolf, make_submission(script, {"pgolf.yaml": CONTRACT}))
    assert measured(7).artifact_file == "final_model.int8.ptz, extra.bin"
    assert measured(7).artifact_bytes == measured(7).script_artifact_bytes + 40


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "a" * 5000, "'a\\0b'", "link", "pipe", "folder"]
)
def test_a_contract_cannot_point_elsewhere(pgolf, make_submission, measured, name):
    script = HONEST_SCRIPT + (
        "\nos.symlink('/etc/passwd', 'link'); os.mkfifo('pipe'); os.mkdir('folder')\n"
        "os.symlink('loop', 'loop')\n"
    )
    run_seed(pgolf, make_submission(script, {"pgolf.yaml": f"artifact: [{name}]\n"}))
    assert measured(7).artifact_bytes is None


LOSSES = """
import array
array.array("f", {losses}).tofile(open(os.environ["PGOLF_TOKEN_LOSSES"], "wb"))
"""


def test_token_losses_are_scored_by_us(pgolf, make_submission, measured):
    losses = f"[1.5, 2.5] * {TINY_TOKENS // 2} + [2.0]"
    script = HONEST_SCRIPT + LOSSES.format(losses=losses)
    run_seed(pgolf, make_submission(script, {"pgolf.yaml": "artifact: [final_model.int8.ptz]"}))
    assert measured(7).score_origin == "token_losses"
    assert measured(7).val_bpb == pytest.approx(bits_per_byte(2.0, TINY_TOKENS, TINY_BYTES))


@pytest.mark.parametrize(
    "losses",
    [
        f"[2.0] * {TINY_TOKENS - 1}",
        f"[2.0] * {TINY_TOKENS - 1} + [-1.0]",
        f"[2.0] * {TINY_TOKENS - 1} + [float('nan')]",
        f"[2.0] * {TINY_TOKENS - 2} + [float('inf'), -float('inf')]",
    ],
)
def test_token_losses_that_are_none_do_not_score(pgolf, make_submission, measured, losses):
    script = HONEST_SCRIPT + LOSSES.format(losses=losses)
    run_seed(pgolf, make_submission(script, {"pgolf.yaml": "artifact: [final_model.int8.ptz]"}))
    assert measured(7).score_origin == "printed"


def test_token_losses_cannot_be_brought_along(pgolf, make_submission, measured):
    prebuilt = struct.pack("<f", 0.1) * TINY_TOKENS
    run_seed(pgolf, make_submission(files={".pgolf_token_losses.f32": prebuilt}))
    assert measured(7).score_origin == "printed"


@pytest.mark.parametrize("figure", ["1e999", "-5.0", "0.0", "nan"])
def test_an_impossible_score_is_a_crash(pgolf, make_submission, measured, figure):
    script = HONEST_SCRIPT.replace("val_bpb:{bits_per_byte:.8f}", f"val_bpb:{figure}")
    pgolf("run", make_submission(script), "--seeds", "7")
    assert measured(7).outcome == "crash"


def test_absurd_figures_do_not_break_the_measurement(pgolf, make_submission, measured):
    absurd = "1e308"
    script = HONEST_SCRIPT.replace("{20 * step}ms", absurd + "m")
    script = script.replace("val_loss:{nats_per_token:.8f}", f"val_loss:{absurd}")
    script += f"print('GPTQ:collected x in {absurd}s'); print('total_eval_time:{absurd}s')"
    run_seed(pgolf, make_submission(script))
    assert measured(7).outcome == "completed"
    assert measured(7).implied_bytes is None
