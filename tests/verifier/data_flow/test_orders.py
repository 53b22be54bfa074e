import pytest

from verifier.data_flow.orders import (
    fitted_to_window,
    is_fitted_to_context_only,
    learned_before_scored,
    scored_again,
    warmed_up,
)
from verifier.data_flow.trace import Update
from verifier.data_flow.values import LEAF

SCORE = "loss_sum += model(x, y)"
LEARN = "model(x, y).backward(); optimizer.step()"


def passes(*bodies):
    """Consecutive passes over the validation tokens, one body each; the sum is printed."""
    lines = ["optimizer = torch.optim.SGD(model.parameters())", "loss_sum = torch.zeros(())"]
    for body in bodies:
        lines.append("for i in range(0, len(tokens), 64):")
        lines.append("    x, y = tokens[i : i + 64], tokens[i + 1 : i + 65]")
        lines += [f"    {step}" for step in body]
    return "\n".join([*lines, 'print(f"val_bpb:{loss_sum}")'])


def test_scoring_before_learning_in_one_pass_is_no_breach(follow):
    trace = follow(passes([SCORE, LEARN]))
    assert trace.claimed_scores()
    assert not [*learned_before_scored(trace), *scored_again(trace), *warmed_up(trace)]


@pytest.mark.parametrize("bodies", [([LEARN], [SCORE]), ([LEARN, SCORE],)])
def test_learning_before_scoring_is_seen_in_one_pass_or_two(follow, bodies):
    assert list(learned_before_scored(follow(passes(*bodies))))


def test_a_second_pass_after_adaptation_is_a_rescore(follow):
    trace = follow(passes([SCORE, LEARN], [SCORE]))
    assert list(scored_again(trace))
    assert not list(learned_before_scored(trace))


@pytest.mark.parametrize(("learner", "is_breach"), [("other", False), ("model", True)])
def test_learning_in_a_tensors_memory_changes_its_own_model_alone(follow, learner, is_breach):
    setup = "other = torch.nn.Linear(8, 8)\nfor p in model.parameters():\n    p.data = p.data * 2\n"
    learn = [f"{learner}(x, y).backward()", f"w = {learner}.weight", "w.data -= 0.1 * w.grad"]
    assert bool(list(learned_before_scored(follow(setup + passes(learn, [SCORE]))))) == is_breach


def test_a_pass_in_a_branch_that_was_left_does_not_precede_the_rest(follow):
    first, second = passes([SCORE, LEARN]), passes([SCORE])
    body = "\n".join(f"        {line}" for line in first.splitlines())
    rest = "\n".join(f"    {line}" for line in second.splitlines())
    trace = follow(
        f"def main():\n    if torch.cuda.is_available():\n{body}\n        return\n{rest}\nmain()"
    )
    assert trace.claimed_scores() and not list(scored_again(trace))


def test_weights_saved_and_loaded_again_are_the_same_weights(follow):
    reload = """
torch.save(model.state_dict(), "model.pt")
model = GPT()
model.load_state_dict(torch.load("model.pt"))
"""
    learn, score = passes([LEARN]), passes([SCORE])
    assert list(learned_before_scored(follow(learn + reload + score)))
    assert not list(learned_before_scored(follow(learn + "\nmodel = GPT()\n" + score)))


@pytest.mark.parametrize(
    "part, is_causal",
    [
        ("[:s]", True),
        ("[9:s]", True),
        ("[: max(64 - 32, 0)]", True),
        ("[: max(64 - 16, 0)]", False),
        ("[s:]", False),
        ("", False),
    ],
)
def test_a_fit_to_the_context_is_told_from_a_fit_to_the_scored_part(follow, part, is_causal):
    fit = f"F.cross_entropy((model.head(x) + delta){part}, y{part}).backward()"
    trace = follow(
        passes(
            [
                "s = max(64 - 32, 0)",
                "delta = torch.zeros(8, requires_grad=True)",
                f"o = torch.optim.SGD([delta]); {fit}; o.step()",
                "loss_sum += F.cross_entropy(model.head(x) + delta, y)[s:]",
            ]
        )
    )
    (sequence,) = fitted_to_window(trace)
    assert is_fitted_to_context_only(trace, sequence.update) is is_causal


@pytest.mark.parametrize("made", ["copy.deepcopy(model)", "GPT()"])
def test_what_a_copy_learns_stays_with_the_copy(follow, made):
    copied = f"import copy\nother = {made}\nother.load_state_dict(model.state_dict())\n"
    adapt = passes([SCORE, LEARN]).replace("model", "other")
    assert not list(scored_again(follow(copied + adapt + "\n" + passes([SCORE]))))


def test_the_two_sides_of_one_decision_do_not_follow_each_other(follow):
    sides = [passes([SCORE, LEARN]), passes([SCORE])]
    first, second = ("\n".join(f"    {line}" for line in side.splitlines()) for side in sides)
    trace = follow(f"if torch.cuda.is_available():\n{first}\nelse:\n{second}")
    assert trace.claimed_scores() and not list(scored_again(trace))


def test_a_memory_of_open_files_is_no_table_of_tokens(follow):
    read = """
seen = {}
def shard(name):
    if name not in seen:
        seen[name] = np.memmap(name)
    return seen[name]
tokens, train = shard("fineweb_val_000000.bin"), shard("fineweb_train_000000.bin")
optimizer = torch.optim.SGD(model.parameters())
model(train[:64], train[1:65]).backward()
optimizer.step()
"""
    trace = follow(read + passes([SCORE]))
    assert trace.claimed_scores()
    assert not [*learned_before_scored(trace), *scored_again(trace)]


def test_a_loop_over_a_collection_meets_something_new(follow):
    body = passes([SCORE, LEARN]).splitlines()
    inner = "\n".join(f"    {line}" for line in body[2:])
    rounds = "\n".join(body[:2]) + "\nfor part in PARTS:\n" + inner
    assert list(scored_again(follow(rounds.replace("PARTS", "range(3)"))))
    assert not list(scored_again(follow(rounds.replace("PARTS", "enumerate(shards())"))))


def test_a_table_that_a_helper_fills_whole_makes_the_next_score_a_rescore(follow):
    fill = """
table = np.zeros(1024)
def add(counts, keys):
    counts += np.bincount(keys)
add(table, ((tokens[1:] * 31) ^ tokens[:-1]) % 1024)
"""
    read = "loss_sum -= np.log(table[((y * 31) ^ x) % 1024])"
    assert list(scored_again(follow(fill + passes([read]))))
    assert not list(scored_again(follow("table = np.zeros(1024)\n" + passes([read]))))


PHASES = """
optimizer = torch.optim.SGD(model.parameters())
for phase in range(3):
    loss_sum = torch.zeros(())
    for i in range(0, len(tokens), 64):
        loss_sum += model(tokens[i : i + 64], tokens[i + 1 : i + 65])
    for i in range(0, len(tokens), 64):
        model(tokens[i : i + 64], tokens[i + 1 : i + 65]).backward(); optimizer.step()
print(f"val_bpb:{loss_sum}")
"""


@pytest.mark.parametrize("rounds, repeats", [(3, True), (1, False)])
def test_phases_that_score_all_and_then_learn_all_are_rescores(follow, rounds, repeats):
    trace = follow(PHASES.replace("range(3)", f"range({rounds})"))
    assert bool(list(scored_again(trace))) is repeats


def test_windows_picked_by_a_chunk_move_on_with_it(follow):
    trace = follow(
        """
        optimizer = torch.optim.SGD(model.parameters())
        loss_sum = torch.zeros(())
        for chunk in range(10):
            windows = []
            for start in range(0, len(tokens), 64):
                if start // 640 == chunk:
                    windows.append(start)
            for number in range(len(windows)):
                x, y = tokens[windows[number] :], tokens[windows[number] + 1 :]
                loss_sum += model(x, y)
            model(x, y).backward(); optimizer.step()
        print(f"val_bpb:{loss_sum}")
        """
    )
    assert trace.claimed_scores() and not list(scored_again(trace))


def test_an_optimizer_of_unknown_parameters_changes_what_its_loss_came_from(follow):
    adapters = "extra = add_adapters()\n"
    learn = LEARN.replace("optimizer", "torch.optim.SGD(extra)")
    assert list(learned_before_scored(follow(adapters + passes([learn], [SCORE]))))


@pytest.mark.parametrize("end", ["length - 16", "max(length - 16, 1)", "0 if i == 0 else 64 - 16"])
def test_bounds_that_leave_the_same_off_are_the_same_bound(follow, end):
    trace = follow(
        passes(
            [
                f"length = len(x); end = {end}",
                "s = 0 if i == 0 else max(length - 16, 0)",
                "model(x[: end - 1], y[: end - 1]).backward(); optimizer.step()",
                "loss_sum += F.cross_entropy(model.head(x), y)[s:]",
            ]
        )
    )
    (sequence,) = learned_before_scored(trace)
    assert is_fitted_to_context_only(trace, sequence.update)


@pytest.mark.parametrize("suffix, is_table", [('+ ".scale"', False), ("", True)])
def test_what_is_kept_under_names_is_no_table_of_tokens(follow, suffix, is_table):
    fill = f"kept = {{}}\nfor part in split(tokens):\n    kept[part {suffix}] = 1\n"
    read = f"loss_sum -= np.log(kept[split(y) {suffix}])"
    assert bool(list(scored_again(follow(fill + passes([read]))))) is is_table


def test_a_closure_that_the_optimizer_calls_is_what_it_learns(follow):
    fit = """
def closure():
    loss = F.cross_entropy(model.head(tokens[:64]) + delta, tokens[1:65])
    loss.backward()
    return loss
delta = torch.zeros(8, requires_grad=True)
torch.optim.LBFGS([delta]).step(closure)
"""
    updates = follow(fit).of_kind(Update)
    assert [bool(update.numbered(LEAF)) for update in updates] == [True]


COUNTED = "usage = torch.bincount({}, minlength=vocab_size).float()\n"
USED = "loss_sum += F.cross_entropy(model.head(x) + model.usage, y)"


@pytest.mark.parametrize(
    ("code", "is_breach"),
    [
        (COUNTED.format("tokens") + "model.register_buffer('usage', usage)", True),
        (COUNTED.format("tokens") + "model.usage = usage / usage.sum()", True),
        (COUNTED.format("tokens") + "print(usage.max())", False),
        (COUNTED.format("np.fromfile('fineweb_train_0.bin')") + "model.usage = usage", False),
        ("model.usage = torch.bincount((tokens == 1).cumsum(0), minlength=9)", False),
    ],
)
def test_symbols_counted_over_the_whole_text_are_learned_before_they_are_scored(
    follow, code, is_breach
):
    assert bool(list(scored_again(follow(f"{code}\n{passes([USED])}")))) is is_breach


def test_symbols_counted_once_they_are_scored_are_the_past(follow):
    count = "model.usage += torch.bincount(y, minlength=vocab_size)"
    trace = follow(f"model.usage = torch.zeros(1024)\n{passes([USED, count])}")
    assert trace.claimed_scores() and not list(scored_again(trace))


@pytest.mark.parametrize("moment", ["pre", "post"])
@pytest.mark.parametrize(("learned", "is_breach"), [("x, y", True), ("seen, seen", False)])
def test_what_an_optimizer_is_told_to_call_learns_too(follow, moment, learned, is_breach):
    trace = follow(
        f"""
seen = np.fromfile("fineweb_train_000000.bin")
def regularise(*_):
    x, y = tokens[:64], tokens[1:65]
    model({learned}).backward()
    optimizer.step()
optimizer = torch.optim.SGD(model.parameters())
optimizer.register_step_{moment}_hook(regularise)
for step in range(9):
    model(seen, seen).backward()
    optimizer.step()
"""
        + passes([SCORE])
    )
    assert bool(list(learned_before_scored(trace))) is is_breach


@pytest.mark.parametrize("step", ['getattr(optimizer, "st" + "ep")()', "optimizer.zero_grad()"])
def test_a_method_called_by_a_name_made_of_pieces_is_that_method(follow, step):
    learn = f'getattr(model(x, y), "back" + "ward")(); {step}'
    assert bool(list(learned_before_scored(follow(passes([learn], [SCORE]))))) is (
        "getattr" in step
    )


@pytest.mark.parametrize(("epochs", "is_rescored"), [(2, True), (1, False)])
def test_an_adapter_whose_last_epoch_is_scored_saw_the_tokens_before(follow, epochs, is_rescored):
    trace = follow(f"""
loss_sum = torch.zeros(())
for d in range(0, len(tokens), 64):
    delta = torch.zeros(64, requires_grad=True)
    optimizer = torch.optim.Adam([delta])
    for epoch in range({epochs}):
        for c in range(d, d + 64, 8):
            x, y = tokens[c : c + 8], tokens[c + 1 : c + 9]
            if epoch == {epochs} - 1:
                loss_sum += F.cross_entropy(model.head(x) + delta, y)
            F.cross_entropy(model.head(x) + delta, y).backward()
            optimizer.step()
print(f"val_bpb:{{loss_sum}}")
""")
    assert trace.claimed_scores()
    assert bool(list(scored_again(trace))) == is_rescored
