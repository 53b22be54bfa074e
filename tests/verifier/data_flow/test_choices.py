"""Choices by the score of a whole pass over the validation tokens, and by scored tokens."""

import textwrap

import pytest

PASS = """
def evaluate(model, temperature=1.0):
    loss_sum, num_bytes = torch.zeros(()), torch.zeros(())
    for i in range(0, len(tokens), 64):
        x, y = tokens[i : i + 64], tokens[i + 1 : i + 65]
        loss_sum += F.cross_entropy(model(x) / temperature, y)
        num_bytes += sizes[y].sum()
    return loss_sum / num_bytes

sizes = torch.tensor([len(sp.id_to_piece(i)) for i in range(1024)])
raw, ema = model.state_dict(), {n: p.clone() for n, p in model.state_dict().items()}
"""
FINAL = 'print(f"final val_bpb:{evaluate(model)}")'
CHOOSING = {
    "weights kept for later": """
        best, kept = evaluate(model), raw
        model.load_state_dict(ema)
        if evaluate(model) < best:
            kept = ema
        model.load_state_dict(kept)
    """,
    "weights put in at once": """
        other = evaluate(GPT())
        if other < evaluate(model):
            model.load_state_dict(ema)
    """,
    "a checkpoint of training": """
        best, kept = float("inf"), None
        for step in range(1000):
            bpb = evaluate(model)
            if bpb < best:
                best, kept = bpb, {n: p.clone() for n, p in model.state_dict().items()}
        model.load_state_dict(kept)
    """,
    "weights put in by a function": """
        def restore(state):
            model.load_state_dict(state)
        if evaluate(GPT()) < evaluate(model):
            restore(ema)
    """,
    "a comparison with a name": """
        is_better = evaluate(GPT()) < evaluate(model)
        if not is_better and time.time() > 0:
            model.load_state_dict(ema)
    """,
    "the key of a minimum": """
        def scaled(value):
            model.scale = value
            return evaluate(model)
        model.scale = min((0.8, 1.0, 1.2), key=lambda value: scaled(value))
    """,
    "the first of a sorted list": """
        kept = [raw, ema]
        def put_in(state):
            model.load_state_dict(state)
            return evaluate(model)
        model.load_state_dict(sorted(kept, key=put_in)[0])
    """,
    "weights by another comparison": """
        keep = raw if evaluate(model) < evaluate(GPT()) else ema
        model.load_state_dict(keep)
    """,
}
HONEST = {
    "the better one is written to a file that is not read": """
        if evaluate(GPT()) < evaluate(model):
            best = {"state": ema}
            torch.save(best, "best.pt")
        torch.save(raw, "final_model.pt")
        model.load_state_dict(torch.load("final_model.pt"))
    """,
    "the better score is only told": """
        best = evaluate(model)
        model.load_state_dict(ema)
        if evaluate(model) < best:
            best = evaluate(model)
        print("so far", best)
    """,
    "the better one is told with where it was kept": """
        bpb = evaluate(model)
        if bpb < evaluate(GPT()):
            path = f"{os.getcwd()}/best.pt"
            print(f"final val_bpb:{bpb} in {path}")
    """,
    "other weights are chosen": """
        other = GPT()
        if evaluate(other) < evaluate(model):
            other.load_state_dict(ema)
    """,
    "training tokens decide": """
        learned = np.fromfile("fineweb_train_000000.bin")
        if F.cross_entropy(model(learned), learned) < 3.0:
            model.load_state_dict(ema)
    """,
    "the key of a minimum is no score": """
        model.scale = min((0.8, 1.0, 1.2), key=lambda value: abs(value - 1))
        evaluate(model)
    """,
    "the least of several is only told": """
        print("best scale", min((0.8, 1.2), key=lambda value: evaluate(model, value)))
    """,
    "a threshold": """
        if evaluate(model) > 1e-9:
            model.load_state_dict(ema)
    """,
    "tokens one by one": """
        x, y = tokens[:64], tokens[1:65]
        nll = F.cross_entropy(model(x), y, reduction="none")
        model.load_state_dict(torch.where(nll > nll.mean(), raw, ema))
    """,
    "time decides": """
        if time.time() < 600:
            model.load_state_dict(ema)
    """,
}


def choices(follow, code):
    trace = follow(f"{PASS}{textwrap.dedent(code)}")
    assert trace.claimed_scores() and not trace.stopped
    return trace.choices()


@pytest.mark.parametrize("code", CHOOSING.values(), ids=CHOOSING)
def test_what_did_better_on_the_validation_tokens_is_a_choice(follow, code):
    assert choices(follow, textwrap.dedent(code) + FINAL)


@pytest.mark.parametrize("code", HONEST.values(), ids=HONEST)
def test_a_score_that_changes_nothing_scored_is_none(follow, code):
    assert not choices(follow, textwrap.dedent(code) + FINAL)


def test_what_was_chosen_and_saved_is_a_choice_wherever_it_was_read_back(follow):
    chosen = (
        CHOOSING["weights kept for later"]
        + """
        torch.save(model.state_dict(), "final_model.pt")
        model = unpacked("final_model.pt")
    """
    )
    assert choices(follow, textwrap.dedent(chosen) + FINAL)


def test_the_better_of_two_passes_is_a_choice(follow):
    two = "one, other = evaluate(model), evaluate(model, 0.9)\n"
    assert choices(follow, two + 'print(f"final val_bpb:{min(one, other)}")')
    assert not choices(follow, two + 'print(f"final val_bpb:{one}")')


@pytest.mark.parametrize("loop", ["for i in range(0, len(tokens), 64):", "while i < len(tokens):"])
def test_tokens_that_were_scored_may_decide_how_the_next_are(follow, loop):
    adapt = f"""
        def adapt(model):
            i, last, loss_sum, kept = 0, float("inf"), torch.zeros(()), raw
            {loop}
                x, y = tokens[i : i + 64], tokens[i + 1 : i + 65]
                loss = F.cross_entropy(model(x), y)
                loss_sum += loss
                if loss < last:
                    last, kept = loss, model.state_dict()
                else:
                    model.load_state_dict(kept)
                i += 64
            return loss_sum
    """
    assert not choices(follow, textwrap.dedent(adapt) + 'print(f"final val_bpb:{adapt(model)}")')
