"""Our clock cut at the lines of public log styles; the excerpts are made up."""

from array import array

import pytest

from verifier.claims.training_log import TrainingLogReader
from verifier.runs.clocks import Timeline, phases

BASELINE = """\
seed:1337
warmup_step:20/20
step:1/20000 train_loss:6.9 train_time:44ms step_avg:44ms
step:200/20000 train_loss:2.9 train_time:8700ms step_avg:43ms
step:13000/20000 val_loss:2.07 val_bpb:1.22 train_time:600010ms step_avg:44ms
stopping_early: wallclock_cap train_time:600010ms step:13000/20000
Serialized model int8+zlib: 15000000 bytes (payload:1 raw_torch:1 payload_ratio:3.9x)
final_int8_zlib_roundtrip_exact val_loss:2.08 val_bpb:1.23 eval_time:1500ms"""
STEPS = "step:12800/20000 train_loss:2.1 train_time:592110ms step_avg:46ms"
LATER = """\
  seed: 42
1/20000 train_loss: 8.99 train_time: 0.0m tok/s: 8100000
500/20000 train_loss: 3.2 train_time: 0.8m tok/s: 7900000
stopping_early: wallclock_cap train_time: 596000ms step: 4900/20000
pre-quantization post-ema val_loss:2.30 val_bpb:1.07 eval_time:7000ms
GPTQ:collecting Hessians from calibration data...
GPTQ:collected 67 Hessians in 3.5s
Serialized model quantized+brotli: 15900000 bytes
ttt_lora:compile warmup done (100.0s)
quantized_ttt_phased val_loss:2.29 val_bpb:1.06 eval_time:400000ms"""
TERNARY = """\
step:0/50000 val_loss:9.0 val_bpb:3.6 train_time:0ms
step:500/50000 loss:3.6 t:77000ms avg:154.0ms
step:3800/50000 val_loss:2.8 val_bpb:1.16 train_time:599000ms
artifact:15.60MB binary:1(1B) fp:1(1B) code:70399
budget:15670651/16000000 (15.67/16.00MB) FITS
final_ternary val_loss:2.7 val_bpb:1.15"""


def ledger(log: str, *times: float, **marks: float):
    """The phases of a log whose lines came at these times."""
    reader = TrainingLogReader()
    for line in log.splitlines():
        reader.feed(line)
    assert len(times) == len(log.splitlines())
    timeline = Timeline(line_seconds=array("d", times), end=times[-1] + 1, **marks)
    return phases(timeline, reader.result(), reader.result())


def test_the_baselines_style():
    cut = ledger(BASELINE, 5, 30, 31, 40, 631, 631, 640, 660)
    assert (cut.start, cut.training) == (31, pytest.approx(600.044))
    assert (cut.serialise, cut.evaluation, cut.finish) == (9, 20, 1)
    assert cut.calibration is cut.load is None


def test_later_scripts_calibrate_and_warm_up():
    cut = ledger(LATER, 5, 100, 150, 696, 705, 706, 710, 810, 950, 1350)
    assert (cut.training, cut.calibration) == (596, 4)
    assert (cut.serialise, cut.evaluation) == (114, 540)


def test_a_script_without_a_line_for_its_artifact_has_no_evaluation_phase():
    cut = ledger(TERNARY, 20, 97, 619, 630, 630, 700)
    assert cut.training == pytest.approx(599)
    assert cut.serialise is cut.evaluation is None


def test_a_process_of_its_own_ends_training_whatever_its_lines_say():
    cut = ledger(
        BASELINE, 5, 30, 31, 40, 631, 631, 640, 760, training_end=650, evaluation_begin=650
    )
    assert (cut.serialise, cut.load, cut.evaluation) == (19, None, 110)


def test_the_first_look_at_validation_data_ends_loading():
    marks = {"training_end": 650, "evaluation_begin": 650, "first_look": 700}
    cut = ledger(BASELINE, 5, 30, 31, 40, 631, 631, 640, 760, **marks)
    assert (cut.load, cut.evaluation) == (50, 60)


def test_a_look_after_the_score_is_no_look():
    marks = {"training_end": 650, "evaluation_begin": 650, "first_look": 770}
    cut = ledger(BASELINE, 5, 30, 31, 40, 631, 631, 640, 760, **marks)
    assert (cut.load, cut.evaluation) == (None, 110)


def test_a_process_that_marks_no_step_trains_all_the_time():
    cut = ledger("final x val_loss:1 val_bpb:1", 700, training_end=650, evaluation_begin=650)
    assert (cut.start, cut.training) == (0, 650)


def test_validation_among_the_steps_is_no_training_and_unlogged_steps_are():
    # 180 steps, 7.9 s by the script's clock, lie between its last two lines; the rest validates.
    log = BASELINE.replace("step:200/20000 train_loss:2.9 train_time:8700ms step_avg:43ms", STEPS)
    cut = ledger(log, 5, 30, 31, 623, 663, 663, 672, 690)
    assert cut.validation == pytest.approx(40 - 7.9)
    assert cut.training == pytest.approx(663 - 31 + 0.044 - cut.validation)
