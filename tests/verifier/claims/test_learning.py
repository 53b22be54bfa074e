"""How a run learned, read off its log."""

from verifier.claims.learning import MAX_POINTS, learning_of
from verifier.claims.training_log import read_training_log

FINAL = "final_int6_roundtrip val_loss:1.9000 val_bpb:1.1300"
BETTER = "final_int6_sliding_window val_loss:1.8700 val_bpb:1.1100"


def log(*lines: str):
    told = read_training_log("\n".join(lines))
    return learning_of(told, told)


def step(number: int, loss: float = 2.0) -> str:
    return f"step:{number}/1000 train_loss:{loss} train_time:{number}ms step_avg:1ms"


def test_the_last_validation_is_before_quantisation_and_the_next_score_after_it():
    validated = "step:1000/1000 val_loss:1.9 val_bpb:1.1200 train_time:5ms step_avg:1ms"
    learning = log(step(1), validated, FINAL, BETTER)
    assert (learning.raw_bpb, learning.quantised_bpb) == (1.12, 1.13)


def test_a_score_of_averaged_weights_is_nearer_to_quantisation_than_a_validation():
    validated = "step:1000/1000 val_loss:1.9 val_bpb:1.1200 train_time:5ms step_avg:1ms"
    averaged = "pre-quantization post-ema val_loss:1.8 val_bpb:1.1150 eval_time:5ms"
    assert log(validated, averaged, FINAL).raw_bpb == 1.115


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    learning = log(*(step(number) for number in range(1, 1001)))
    assert len(learning.points) == MAX_POINTS
    assert (learning.points[0][0], learning.points[-1][0]) == (1, 1000)


def test_a_log_that_tells_nothing_is_none():
    assert log("hello") is None
