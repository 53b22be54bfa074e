import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.claims.training_log import TrainingLog, TrainingLogReader, read_training_log
from verifier.intake.submission import load_submission

LOGS = Path(__file__).parents[1] / "logs"


def read(name: str) -> TrainingLog:
    return read_training_log((LOGS / name).read_text())


EXPECTED: dict[str, dict[str, object]] = {
    "baseline.log": {
        "seed": 1337,
        "world_size": 8,
        "train_shards": 80,
        "val_tokens": 62_021_632,
        "steps": 13_692,
        "planned_steps": 20_000,
        "train_seconds": 600.051,
        "model_bytes": 15_848_097,
        "code_bytes": 48_125,
        "total_bytes": 15_896_222,
        "codec": "int8+zlib",
        "eval_seconds": 1.433,
        "peak_memory_mib": 10_184,
    },
    "alias_rows.log": {"seed": 42, "calibration_seconds": 239.9, "eval_seconds": 88.309},
    "phased_ttt.log": {
        "seed": 0,
        "world_size": 8,
        "train_shards": 80,
        "val_tokens": 47_851_520,
        "train_seconds": 599.433,
        "steps": 4_932,
        "code_bytes": 31_999,
        "code_bytes_uncompressed": 157_868,
        "total_bytes": 15_900_947,
        "codec": "quantized+pergroup",
        "calibration_seconds": 4.9,
        "serialize_seconds": 97.8,
        "deserialize_seconds": 35.2,
        "compile_warmup_seconds": 88.8,
        "eval_seconds": 454.966,
    },
    "unix_time.txt": {"seed": 2, "train_seconds": 587.175, "eval_seconds": 500.104},
    "ternary.txt": {
        "seed": 42,
        "world_size": 8,
        "train_seconds": 599.652,
        "steps": 6_530,
        "code_bytes": 70_853,
        "total_bytes": 15_993_853,
        "eval_seconds": 429.311,
    },
    "legal_ttt.log": {"seed": 1337, "eval_seconds": 410.268},
}
HEADLINES = {
    "baseline.log": ("final_int8_zlib_roundtrip_exact", 1.21972502),
    "alias_rows.log": ("final_int8_zlib_roundtrip_exact", 1.10774252),
    "phased_ttt.log": ("quantized_ttt_phased", 1.06124613),
    "unix_time.txt": ("quantized_ttt_lora", 1.07325),
    "ternary.txt": ("final_sliding", 1.1565),
    "legal_ttt.log": ("legal_ttt_exact", 1.11922988),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_generation_gives_its_figures(name: str) -> None:
    log = read(name)
    assert {field: getattr(log, field) for field in EXPECTED[name]} == pytest.approx(EXPECTED[name])


@pytest.mark.parametrize("name", HEADLINES)
def test_the_headline_is_the_last_line_that_is_no_diagnostic(name: str) -> None:
    headline = read(name).headline
    assert headline is not None
    assert (headline.label, headline.val_bpb) == HEADLINES[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_each_figure_stands_on_the_line_it_names(name: str) -> None:
    log, lines = read(name), (LOGS / name).read_text().split("\n")
    for field in ("total_bytes", "seed", "steps", "val_tokens"):
        if getattr(log, field) is not None:
            assert str(getattr(log, field)) in lines[log.lines[field] - 1]
    for metric in log.finals + log.diagnostics:
        assert f"{metric.val_bpb:.{metric.bpb_decimals}f}" in lines[metric.line - 1]


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "unix_time.txt"])
def test_a_rank_that_torchrun_puts_before_each_line_changes_nothing(name: str) -> None:
    text = (LOGS / name).read_text()
    assert read_training_log(re.sub(r"(?m)^", "[default0]:", text)) == read_training_log(text)
    assert read_training_log(re.sub(r"(?m)^", "[helper0]:", text)).train_seconds is None


def test_diagnostics_are_kept_apart() -> None:
    log = read("phased_ttt.log")
    labels = ["diagnostic pre-quantization post-ema", "diagnostic quantized"]
    assert [metric.label for metric in log.diagnostics] == labels
    assert len(log.finals) == 1


@pytest.mark.parametrize(
    ("line", "label", "seconds"),
    [
        ("mixer val_bpb:0.929 eval_time:5422ms order=5", "mixer", pytest.approx(5.422)),
        ("final_int6(ttt_lora) val_loss:1.7 val_bpb:1.01", "final_int6(ttt_lora)", None),
        ("FINAL val_bpb: 1.4967", "FINAL", None),
    ],
)
def test_a_bpb_alone_counts_where_the_line_is_final_or_timed(
    line: str, label: str, seconds: float | None
) -> None:
    headline = read_training_log(line).headline
    assert headline is not None
    assert (headline.label, headline.eval_seconds) == (label, seconds)


def test_a_search_on_the_way_is_no_final_metric() -> None:
    assert read_training_log("temp_search: temp=0.81 val_bpb=1.2431").headline is None


def test_a_bpb_alone_takes_the_loss_of_the_line_that_it_repeats() -> None:
    text = "final_roundtrip val_loss:2.1596 val_bpb:1.2791 eval:873ms\n"
    log = read_training_log(text + "final_roundtrip_exact val_bpb:1.27905213")
    assert log.headline is not None and log.headline.val_loss == 2.1596
    assert log.eval_seconds == pytest.approx(0.873)


def test_rows_that_repeat_a_figure_name_the_first() -> None:
    log = read("alias_rows.log")
    repeated = [metric.repeats_line for metric in log.finals]
    first_roundtrip, first_sliding = log.finals[0].line, log.finals[2].line
    assert repeated == [None, first_roundtrip, None, first_sliding, first_sliding]


def test_a_script_printed_into_the_log_is_skipped() -> None:
    assert all("fake" not in metric.label for metric in read("baseline.log").finals)


def test_hyperparameters_are_read_from_both_kinds_of_dump() -> None:
    phased, ternary = read("phased_ttt.log"), read("ternary.txt")
    assert phased.hyperparameters["gptq_calibration_batches"] == "16"
    assert phased.hyperparameters["artifact_dir"] == ""
    assert ternary.hyperparameters["data_path"] == "./data/datasets/fineweb10B_sp8192"
    assert read("baseline.log").hyperparameters["train_seq_len"] == "1024"


def test_loss_curves_are_read_in_seconds() -> None:
    log = read("phased_ttt.log")
    assert [point.step for point in log.train_points] == [1, 3000]
    assert log.train_points[-1].train_seconds == pytest.approx(324.0)
    assert [(point.step, point.val_bpb) for point in log.validation_points] == [(4932, 1.077)]


def test_of_several_runs_in_a_file_the_last_one_counts() -> None:
    log = read("two_runs.log")
    assert (log.num_runs, log.steps, log.total_bytes) == (2, 630, 14_062_757)
    assert len(log.finals) == 1
    assert log.peak_memory_mib is None  # the first run's; the last one did not print it


def test_a_summary_of_validations_behind_a_run_is_no_second_run() -> None:
    validations = "0/90 val_loss: 6.9 val_bpb: 4.1\n90/90 val_loss: 2.8 val_bpb: 1.1\n"
    run = f"{validations}Total submission size int6: 16134845 bytes\n"
    assert read_training_log(run + validations).total_bytes == 16_134_845
    assert read_training_log(run + validations.replace("2.8", "2.7")).total_bytes is None


def test_the_total_of_an_earlier_packing_is_not_the_size() -> None:
    text = "Total submission size int6: 16303416 bytes\nexport model_bytes=15826872\n"
    assert read_training_log(text).total_bytes is None
    assert read_training_log(text + "export code_bytes=92888").total_bytes == 15_919_760


@pytest.mark.parametrize(
    "line",
    [
        "artifact_bytes: 15968912",
        "Artifact size:  15,968,912 bytes",
        "Total submission size int6+zlib:15968912bytes",
        "total:15968912B",
    ],
)
def test_a_size_is_read_by_its_name(line: str) -> None:
    assert read_training_log(line).total_bytes == 15_968_912


def test_the_bytes_of_the_text_are_no_size() -> None:
    assert read_training_log("predictions=62021845\ntotal_bytes=151080891").total_bytes is None


def test_a_huge_artifact_has_a_size() -> None:
    assert read_training_log("export artifact_bytes=135,900,947").total_bytes == 135_900_947
    assert read_training_log("artifact_bytes: 135900947").total_bytes == 135_900_947


def test_lines_that_cannot_be_read_are_listed_not_guessed() -> None:
    log = read("damaged.log")
    assert [line.line for line in log.unread] == [4, 5]
    assert log.total_bytes is None
    assert log.headline is not None and log.headline.val_bpb is None
    assert log.train_points[0].step == 200


def test_phase_lines_of_our_own_trainer_are_read() -> None:
    log = read_training_log("phase:serialize seconds:12.500\nphase:x seconds:soon\n")
    assert [(phase.name, phase.seconds) for phase in log.phases] == [("serialize", 12.5)]


def test_a_live_log_shows_its_latest_step() -> None:
    reader = TrainingLogReader()
    assert reader.latest is None
    reader.feed("step:7/50 train_loss:3.5000 train_time:900ms step_avg:128.57ms\n")
    assert reader.latest is not None
    assert (reader.latest.step, reader.latest.planned_steps) == (7, 50)
    assert reader.result().headline is None


def test_line_numbers_hold_behind_a_cut(tmp_path: Path) -> None:
    filler = "x" * 1023 + "\n"
    text = filler * 9000 + "final_sliding val_loss:2.0 val_bpb:1.1\n"
    (tmp_path / "train.log").write_text(text)
    (file,) = load_submission(tmp_path).logs
    headline = read_training_log(file).headline
    assert headline is not None and headline.line == 9001


@given(st.text() | st.lists(st.sampled_from((LOGS / "phased_ttt.log").read_text().split("\n"))))
def test_any_text_is_read_without_failing(text: str | list[str]) -> None:
    text = text if isinstance(text, str) else "\n".join(text)
    log = read_training_log(text)
    assert log.num_lines == text.count("\n") + 1
    assert all(1 <= line <= log.num_lines for line in log.lines.values())


HEADS = ["params:", "val_loss:1", "final", "gptq:done ", "step:1/2 ", "Serialize: done in ", "a "]


@pytest.mark.parametrize("head", [*HEADS, "Total submission size ", "--- Hyperparameters ---\na="])
def test_a_line_on_which_a_careless_pattern_would_never_end_is_read(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verifier.claims.training_log.MAX_LINE_CHARACTERS", 1_000_000)
    unit = head + " val_loss:1 val_bpb: ws:1 s: in 1 done in 1"
    text = "\n".join([unit * (1_000_000 // len(unit)), head + "x" * 999_000, head * 50_000])
    assert read_training_log(text).num_lines == text.count("\n") + 1


@pytest.mark.parametrize(
    ("line", "data", "seconds"),
    [
        ("gptq:calibrating with training data...", "calibrating with training data...", None),
        ("gptq:collecting hessians batches=64 source=val", "collecting hessians batches", None),
        ("GPTQ:collected 67 Hessians in 3.5s", None, 3.5),
        ("gptq:hessians collected layers=68 time=37.2s", None, 37.2),
        ("gptq:reserving 0s, effective=599500ms", None, None),
        ("gptq_quantize: 66 GPTQ layers, 0 naive layers", None, None),
    ],
)
def test_calibration_is_seen_with_and_without_its_time(
    line: str, data: str | None, seconds: float | None
) -> None:
    log = read_training_log(line + "\n")
    assert (log.calibration_data or "").startswith(data or "")
    assert (log.calibration_data is None) == (data is None)
    assert log.calibration_seconds == seconds


@pytest.mark.parametrize(
    "line",
    [
        "Validation tokens: 40,540,160",
        "val_tokens:40540160 eval_ctx:8192 eval_stride:64",
        "eval_tokens=40540160",
        "val_loader:tokens:40540160",
        "val_loader:shards pattern=./data/fineweb_val_*.bin tokens:40540160 cap:40540160",
        "val_loader:shards pattern=./data/fineweb_val_*.bin tokens:40540160 limited=0",
        "train_loader:dataset:sp8192 train_shards:80 val_tokens:40540160",
        "Val tokens: 40,540,160",
        "val:./data/sp8192/fineweb_val_*.bin tokens:40540160",
        "final_exact other_loss:3.2 other_bpb:1.8 scored_tokens:40540160",
    ],
)
def test_scored_tokens_are_read_in_every_shape(line: str) -> None:
    assert read_training_log(line + "\n").val_tokens == 40_540_160


@pytest.mark.parametrize(
    ("text", "label", "bpb", "seconds"),
    [
        (
            "EMA BPB: 1.0179\nQuantized BPB (no XSA): 1.027163",
            "Quantized BPB (no XSA)",
            1.027163,
            None,
        ),
        ("ttt:vl=0.701567 bpb=0.415507 t=47.3s", "ttt:vl=0.701567 bpb", 0.415507, 47.3),
        ("val_bpb:          1.180076", "val_bpb", 1.180076, None),
    ],
)
def test_a_score_in_a_scripts_own_words_counts_where_no_customary_line_is(
    text: str, label: str, bpb: float, seconds: float | None
) -> None:
    headline = read_training_log(text).headline
    assert headline is not None
    assert (headline.label, headline.val_bpb, headline.eval_seconds) == (label, bpb, seconds)


def test_a_customary_line_stands_over_a_scripts_own_words() -> None:
    text = "final_exact val_loss:2.1596 val_bpb:1.27905213\nwall BPB: 1.1000"
    headline = read_training_log(text).headline
    assert headline is not None and headline.val_bpb == 1.27905213


@pytest.mark.parametrize(
    "line",
    [
        "tc[1890/1893]bpb=0.415948 t=47.2s",
        "Best BPB: 1.2272",
        '"previous_best_bpb": 1.2464,',
    ],
)
def test_a_score_on_the_way_or_of_another_run_is_no_final_metric(line: str) -> None:
    assert read_training_log(line).headline is None
