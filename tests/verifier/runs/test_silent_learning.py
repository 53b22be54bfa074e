"""What is learned of validation text behind the last printed loss shows in the artifact alone."""

import pytest
from tiny_track import HONEST_SCRIPT

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook
from verifier.schemas.run_record_json import Evidence

PACKED = "artifact = random.randbytes(500 + random.randrange(100))"


@pytest.fixture
def outcome(pgolf, make_submission, tmp_path):
    """The rule's answer after a script was trained twice, beside other validation data."""

    def call(script: str) -> Outcome:
        result = pgolf("run", make_submission(script), "--seeds", "7", "--independence")
        assert result.exit_code == 0, result.stderr
        evidence = Evidence.model_validate_json((tmp_path / "out/evidence.json").read_bytes())
        assert evidence.independence.first_step is None, "no loss tells of it"
        plan = evidence.plan.model_copy(update={"track": "10min_16mb"})  # which has the rule
        evidence = evidence.model_copy(update={"plan": plan})
        rules = pipeline.judge(evidence, load_rulebook("10min_16mb"), "readme-strict").rules
        return next(r.outcome for r in rules if r.rule == "validation_seen_in_training")

    return call


def test_equal_losses_and_an_equal_artifact_pass(outcome):
    assert outcome(HONEST_SCRIPT) is Outcome.PASSED


def test_equal_losses_and_another_artifact_stay_open(outcome, data):
    shard = data / "datasets" / "tiny_sp64" / "fineweb_val_000000.bin"
    shard.write_bytes(shard.read_bytes()[:-2] + b"\x09\x00")
    assert PACKED in HONEST_SCRIPT
    learned = HONEST_SCRIPT.replace(PACKED, f"{PACKED} + shard.read_bytes()[-2:]")
    assert outcome(learned) is Outcome.NOT_EVALUATED


def test_an_artifact_that_is_not_found_leaves_it_open(outcome):
    write = 'Path("final_model.int8.ptz").write_bytes(artifact)'
    assert write in HONEST_SCRIPT
    assert outcome(HONEST_SCRIPT.replace(write, "")) is Outcome.NOT_EVALUATED
