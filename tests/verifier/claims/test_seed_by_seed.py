import json
import shutil
from pathlib import Path

import pytest

from verifier.claims.seed_by_seed import Claims, collect_claims
from verifier.intake.submission import load_submission

LOGS = Path(__file__).parents[1] / "logs"
CHALLENGE_BYTES = 151_080_000


def claims_of(folder: Path, metadata: dict[str, object], logs: dict[str, str]) -> Claims:
    (folder / "submission.json").write_text(json.dumps(metadata))
    for name, source in logs.items():
        shutil.copy(LOGS / source, folder / name)
    return collect_claims(load_submission(folder))


def test_each_seed_has_its_statement_and_its_log(tmp_path: Path) -> None:
    metadata = {"val_bpb": 1.1, "seed_results": {"42": {"val_bpb": 1.10774252}, "7": {}}}
    claims = claims_of(tmp_path, metadata, {"a.log": "alias_rows.log"})
    seven, forty_two = claims.seeds
    assert (seven.seed, seven.log, seven.val_bpb) == (7, None, None)
    assert forty_two.stated is not None and forty_two.log is not None
    assert forty_two.log.val_bpb == forty_two.stated.val_bpb == 1.10774252
    assert claims.headline_bpb == 1.1


def test_a_log_belongs_to_the_seed_that_it_prints(tmp_path: Path) -> None:
    claims = claims_of(tmp_path, {}, {"train_seed999.log": "alias_rows.log"})
    (log,) = claims.logs
    assert (log.seed, log.seed_in_name, log.label_mismatch) == (42, 999, True)


@pytest.mark.parametrize("name", ["train_seed_5.txt", "log_seed-5.log", "hybrid_s5.log"])
def test_the_file_name_counts_where_the_log_is_silent(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("step:1/2 train_loss:2.0 train_time:1ms\n")
    (log,) = collect_claims(load_submission(tmp_path)).logs
    assert (log.seed, log.label_mismatch) == (5, False)


def test_of_several_logs_the_one_that_carries_the_claim_is_taken(tmp_path: Path) -> None:
    metadata = {"val_bpb": 1.11922988}
    logs = {"a.log": "baseline.log", "b.log": "legal_ttt.log", "c.log": "two_runs.log"}
    (seed,) = claims_of(tmp_path, metadata, logs).seeds
    assert seed.log is not None and seed.log.file.path.name == "b.log"
    assert {log.file.path.name for log in seed.other_logs} == {"a.log", "c.log"}


def test_a_copy_of_a_log_counts_once(tmp_path: Path) -> None:
    logs = {"train.log": "baseline.log", "train_seed1337.log": "baseline.log"}
    assert len(claims_of(tmp_path, {}, logs).logs) == 1


@pytest.mark.parametrize("name", ["baseline.log", "alias_rows.log", "phased_ttt.log"])
def test_honest_logs_imply_the_bytes_of_the_challenge(tmp_path: Path, name: str) -> None:
    (log,) = claims_of(tmp_path, {}, {name: name}).logs
    implied = log.implied_validation_bytes
    assert implied is not None
    assert implied.low <= implied.value <= implied.high
    assert implied.value == pytest.approx(CHALLENGE_BYTES, rel=6e-4)


def test_fewer_decimals_widen_the_implied_bytes(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(
        "val_tokens: 1000\nfinal_a val_loss:2.0595 val_bpb:1.2197 eval_time:1ms\n"
    )
    (log,) = collect_claims(load_submission(tmp_path)).logs
    implied = log.implied_validation_bytes
    assert implied is not None
    assert (implied.high - implied.low) / implied.value == pytest.approx(1.3e-4, rel=0.05)


def test_a_collapsed_run_implies_nothing(tmp_path: Path) -> None:
    (log,) = claims_of(tmp_path, {}, {"damaged.log": "damaged.log"}).logs
    assert log.val_bpb is None and log.implied_validation_bytes is None


def test_trial_runs_do_not_stand_behind_the_claim(tmp_path: Path) -> None:
    metadata = {"val_bpb": 1.1, "seeds": [42], "seed_results": {"42": {"val_bpb": 1.10774252}}}
    logs = {"a.log": "alias_rows.log", "trial.log": "baseline.log"}
    claims = claims_of(tmp_path, metadata, logs)
    assert [log.file.path.name for log in claims.claiming_logs] == ["a.log"]
    assert claims.claimed_bpbs == (1.10774252,)


def test_without_a_list_of_seeds_every_seed_stands_behind_the_claim(tmp_path: Path) -> None:
    claims = claims_of(tmp_path, {}, {"a.log": "alias_rows.log", "b.log": "baseline.log"})
    assert len(claims.claiming_logs) == len(claims.claimed_bpbs) == 2


def test_the_claimed_metric_is_the_line_with_the_claimed_figure(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(
        "final_a val_loss:2.0 val_bpb:1.2000 eval_time:700000ms\n"
        "final_b val_loss:2.1 val_bpb:1.3000 eval_time:1ms\n"
    )
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2}')
    claims = collect_claims(load_submission(tmp_path))
    metric = claims.claimed_metric(claims.logs[0])
    assert metric is not None and (metric.line, metric.eval_seconds) == (1, 700.0)
