"""Training and evaluation as processes that share an artifact and nothing else."""

import json
from pathlib import Path

import pytest
from tiny_track import TINY_BYTES, TINY_TOKENS

from verifier.schemas.run_record_json import Evidence
from verifier.units import bits_per_byte

SCRIPT = (Path(__file__).parent.parent / "divided_script.py").read_text()
CONTRACT = """
version: 1
train: STEPS=4 torchrun --nproc_per_node=8 train_gpt.py train
evaluate: torchrun --nproc_per_node=8 train_gpt.py evaluate
artifact: [model.bin]
code: [train_gpt.py]
"""
CONTRACTED = {"pgolf.yaml": CONTRACT}


@pytest.fixture
def evidence(tmp_path):
    return lambda: Evidence.model_validate_json((tmp_path / "out" / "evidence.json").read_bytes())


def run(pgolf, submission, seeds="7,8", *arguments):
    result = pgolf("run", submission, "--seeds", seeds, *arguments)
    assert result.exit_code == 0, result.stderr
    return result


def test_an_honest_script_is_scored_from_its_artifact(pgolf, make_submission, measured, evidence):
    run(pgolf, make_submission(SCRIPT, CONTRACTED))
    seed = measured(7)
    assert (seed.outcome, seed.score_origin) == ("completed", "token_losses")
    loss = seed.token_losses.mean_nats
    assert seed.val_bpb == pytest.approx(bits_per_byte(loss, TINY_TOKENS, TINY_BYTES))
    assert (seed.artifact_file, seed.artifact_bytes) == ("model.bin", 504)
    held = {g.name: g.grade for g in evidence().guarantees}
    assert held["validation_hidden_in_training"] == "proved"
    assert held["training_hidden_in_evaluation"] == "proved"


def test_what_evaluation_had_and_opened_is_listed(pgolf, make_submission, measured):
    run(pgolf, make_submission(SCRIPT, CONTRACTED | {"helper.py": "", "table.bin": b"x"}), "7")
    seen = measured(7).cold_start
    assert seen.given == ("model.bin", "train_gpt.py")
    assert seen.data == ("datasets/tiny_sp64/fineweb_val_000000.bin",)
    assert (seen.uncounted, seen.rewritten, seen.is_complete) == ((), (), True)


def test_what_precedes_the_first_look_at_the_data_is_no_scoring(pgolf, make_submission, measured):
    # Scores long after the look, of which a busy machine may tell us late.
    script = SCRIPT.replace(
        "    num_tokens =", "    shard.read_bytes()\n    time.sleep(2)\n    num_tokens ="
    )
    run(pgolf, make_submission(script, CONTRACTED), "7")
    phases = measured(7).phases
    assert phases.load > 0.3 and phases.evaluation > 0
    known = phases.model_dump(exclude={"calibration"}, exclude_none=True).values()
    assert sum(known) == pytest.approx(measured(7).wall_seconds + 0.02, abs=0.001)


def test_nothing_of_training_but_the_artifact_reaches_evaluation(pgolf, make_submission, measured):
    leave = "Path('left').touch(); Path('/tmp/left').touch(); Path('/dev/shm/left').touch()\n"
    look = "for p in ('left', '/tmp/left', '/dev/shm/left'): print('sees', p, Path(p).exists())\n"
    script = SCRIPT.replace("    random.seed(seed)", f"    {leave}    random.seed(seed)")
    script = script.replace("def evaluate() -> None:\n", f"def evaluate() -> None:\n    {look}")
    run(pgolf, make_submission(script, CONTRACTED), "7")
    assert measured(7).outcome == "completed"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (("ARTIFACT.write_bytes", "Path('x').write_bytes"), "training left none of the artifact"),
        (("ARTIFACT.write_bytes", "1 / 0; ARTIFACT.write_bytes"), "training: exit code 1"),
        (
            ('[shard] = data.glob("fineweb_val_', '1 / 0; [shard] = data.glob("fineweb_val_'),
            "evaluation: exit code 1",
        ),
        (('print(f"final', 'str(f"final'), "ended without a final score"),
    ],
)
def test_each_phase_fails_by_itself(pgolf, make_submission, measured, change, detail):
    run(pgolf, make_submission(SCRIPT.replace(*change), CONTRACTED), "7")
    assert measured(7).outcome == "crash"
    assert detail in measured(7).detail


def test_what_training_prints_is_no_score_of_evaluation(pgolf, make_submission, measured):
    final = 'print("final_int8_zlib_roundtrip val_loss:1.0 val_bpb:0.5")\n    '
    script = SCRIPT.replace("ARTIFACT.write_bytes", final + "ARTIFACT.write_bytes")
    script = script.replace('print(f"final', 'str(f"final')
    run(pgolf, make_submission(script, CONTRACTED), "7")
    assert (measured(7).outcome, measured(7).script_val_bpb) == ("crash", None)


def test_code_that_training_changed_is_evaluated_as_it_was_handed_in(
    pgolf, make_submission, measured
):
    change = "Path(__file__).write_text('print(1)'); ARTIFACT.write_bytes"
    run(pgolf, make_submission(SCRIPT.replace("ARTIFACT.write_bytes", change), CONTRACTED), "7")
    assert measured(7).outcome == "completed"


def test_an_artifact_that_evaluation_rewrites_is_noticed(pgolf, make_submission, measured):
    script = SCRIPT.replace(
        "    time.sleep(0.3)", "    ARTIFACT.write_bytes(b'')\n    time.sleep(0)"
    )
    run(pgolf, make_submission(script, CONTRACTED), "7")
    assert measured(7).cold_start.rewritten == ("model.bin",)
    assert measured(7).artifact_bytes == 504


def test_the_score_follows_another_seeds_artifact(pgolf, make_submission, evidence, measured):
    run(pgolf, make_submission(SCRIPT, CONTRACTED))
    corrupted, other = evidence().mutations
    assert (corrupted.kind, corrupted.mutated_bpb) == ("corrupted", None)
    assert (other.kind, other.mutated_bpb) == ("other_seed", measured(8).val_bpb)


def test_a_score_that_ignores_its_artifact_stays_the_same(pgolf, make_submission, evidence):
    script = SCRIPT.replace('struct.unpack("<f", ARTIFACT.read_bytes()[:4])', "[1.5]")
    run(pgolf, make_submission(script, CONTRACTED), "7")
    [mutation] = evidence().mutations
    assert mutation.mutated_bpb == mutation.val_bpb


def test_a_finished_replay_is_not_repeated(pgolf, make_submission, tmp_path):
    submission = make_submission(SCRIPT, CONTRACTED)
    run(pgolf, submission)
    (tmp_path / "out" / "evidence.json").unlink()
    again = run(pgolf, submission, "7,8", "--resume")
    assert "evaluated on" not in again.stderr
    assert (tmp_path / "out" / "evidence.json").exists()


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ("train: python train_gpt.py\n", "needs both commands"),
        (CONTRACT.replace("version: 1", "version: 2"), "of a version that is not read"),
        (CONTRACT.replace("[model.bin]", "[]"), "needs 'artifact'"),
        (CONTRACT.replace("[model.bin]", "[../model.bin]"), "outside the working folder"),
        (CONTRACT.replace("[train_gpt.py]", "[none.py]"), "names none.py, which is not in"),
        (CONTRACT.replace("STEPS=4 torchrun", "sh -c"), "is no launch line"),
        (CONTRACT + "text: {apply: python a.py}\n", "'apply' and 'restore'"),
        (CONTRACT + "text: {apply: [a], restore: b}\n", "below 'text' each on one line"),
        (CONTRACT + "text: {apply: python a.py, restore: python a.py}\n", "names a.py"),
    ],
)
def test_a_contract_that_cannot_be_kept_is_one_line(pgolf, make_submission, contract, message):
    result = pgolf("run", make_submission(SCRIPT, {"pgolf.yaml": contract}))
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]


def test_the_plan_shows_both_commands(pgolf, make_submission):
    result = pgolf("run", make_submission(SCRIPT, CONTRACTED), "--plan-only")
    plan = json.loads(result.stdout)
    assert plan["argv"] == ["python", "train_gpt.py", "train"]
    assert plan["evaluation"]["argv"] == ["python", "train_gpt.py", "evaluate"]
    assert "PGOLF_TOKEN_LOSSES" not in plan["environment"]


def test_undivided_training_is_tested_beside_other_validation_data(
    pgolf, make_submission, evidence
):
    run(pgolf, make_submission(), "7", "--independence")
    test = evidence().independence
    assert (test.num_losses, test.first_step, test.largest_gap_nats) == (4, None, 0)
    assert test.is_same_artifact


def test_training_that_reads_validation_data_is_not_independent(
    pgolf, make_submission, evidence, data
):
    shard = data / "datasets" / "tiny_sp64" / "fineweb_val_000000.bin"
    shard.write_bytes(shard.read_bytes()[:-2] + b"\x09\x00")
    honest = (Path(__file__).parent.parent / "honest_script.py").read_text()
    script = honest.replace("train_loss:{3 -", "train_loss:{shard.read_bytes()[-2] + 3 -")
    run(pgolf, make_submission(script), "7", "--independence")
    assert evidence().independence.first_step == 1
