import pytest

from verifier.data_flow.recorder import MAX_STEPS
from verifier.data_flow.values import HASHED, MIXTURE


def test_a_score_is_followed_through_functions_handed_on(follow):
    trace = follow(
        """
        def evaluate(model, tokens):
            total = 0.0
            for i in range(0, len(tokens), 8):
                total += model(tokens[i : i + 8], tokens[i + 1 : i + 9])
            return total, total / 2

        def timed(label, function, *args, **kwargs):
            loss, bpb = function(*args, **kwargs)
            print(f"{label} val_bpb:{bpb}")

        timed("final", torch.compile(evaluate), model, tokens=tokens)
        """
    )
    (score,) = trace.claimed_scores()
    assert score.function == "evaluate"


def test_recursion_and_endless_loops_end(follow):
    trace = follow("def f(x):\n    while True:\n        f(x)\n    return f(f)\nf(1)")
    assert trace.stopped is None


def test_a_script_beyond_the_limit_is_not_followed_to_its_end(follow):
    calls = "\n".join(f"def f{i}(x):\n    return f{i - 1}(x), f{i - 1}(x)" for i in range(1, 25))
    trace = follow(f"def f0(x):\n    return x\n{calls}\nf24(1)")
    assert trace.stopped is not None and MAX_STEPS < 2**24


def test_nesting_beyond_the_limit_is_not_followed_to_its_end(follow):
    assert follow("x = " + "-" * 900 + "1").stopped is not None


@pytest.mark.parametrize("mixed_first", [True, False])
def test_mixing_before_picking_the_target_is_no_mixture_of_one_token(follow, mixed_first):
    model_p = "torch.softmax(model.forward(x), -1)"
    table_p = "table[(x * 31) & 1023]"
    mixed = (
        f"({model_p} + {table_p}).gather(-1, y)"
        if mixed_first
        else f"{model_p}.gather(-1, y) + {table_p}"
    )
    trace = follow(
        f"""
        table = np.zeros(1024)
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            print(f"val_bpb:{{-np.log({mixed})}}")
        """
    )
    assert trace.claimed_scores()
    found = [odd for odd in trace.claimed_oddities(MIXTURE) if HASHED in odd.marks]
    assert bool(found) is not mixed_first
