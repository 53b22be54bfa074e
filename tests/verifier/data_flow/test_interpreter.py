import pytest

from verifier.data_flow.recorder import MAX_STEPS
from verifier.data_flow.trace import Score, Update
from verifier.data_flow.values import HASHED, HINDSIGHT, MIXTURE, SELF_WEIGHTED, TOKEN_BLIND


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


def test_positions_picked_by_comparisons_are_no_hashed_keys(follow):
    trace = follow(
        """
        table = {}
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            sure = (table.get(x, 0) * 2 > 1) & (x * 3 > 9)
            p = torch.softmax(model.forward(x), -1).gather(-1, y)
            print(f"val_bpb:{-np.log(p + table.get(x, 0)[sure])}")
        """
    )
    mixtures = trace.claimed_oddities(MIXTURE)
    assert mixtures and not any(HASHED in odd.marks for odd in mixtures)


KEPT_IF_BETTER = """
table = {}
for i in range(9):
    x, y = tokens[i:], tokens[i + 1 :]
    bare = -F.log_softmax(model.forward(x), -1)[y]
    mixed = bare - np.log(table.get(x, 0))
    if mixed < %s:
        bare[i] = mixed
    print(f"val_bpb:{bare}")
"""


@pytest.mark.parametrize("other, is_hindsight", [("bare", True), ("9.0", False)])
def test_a_loss_kept_where_it_is_the_lower_of_two_is_hindsight(follow, other, is_hindsight):
    trace = follow(KEPT_IF_BETTER % other)
    assert trace.claimed_scores()
    assert bool(trace.claimed_oddities(HINDSIGHT)) is is_hindsight


@pytest.mark.parametrize(
    ("taken", "is_hindsight"),
    [
        ("torch.stack(heads).amin(dim=0)", True),
        ("torch.stack([bare, 2 * bare]).min(dim=0).values", True),
        ("torch.stack([bare, bare]).min(0).values", True),
        ("torch.stack(heads).mean(dim=0)", False),
        ("bare.clamp(min=0)", False),
        ("torch.stack(sizes).amin() * bare", False),
    ],
)
def test_the_least_of_losses_side_by_side_is_hindsight(follow, taken, is_hindsight):
    trace = follow(f"""
for i in range(9):
    x, y = tokens[i:], tokens[i + 1 :]
    sizes = [len(x), len(y)]
    bare = F.cross_entropy(model.forward(x), y, reduction="none")
    heads = [F.cross_entropy(scale * model.forward(x), y, reduction="none") for scale in SCALES]
    print(f"val_bpb:{{{taken}}}")
""")
    assert trace.claimed_scores()
    assert bool(trace.claimed_oddities(HINDSIGHT)) is is_hindsight


STACKED = """
counts, totals = np.zeros(1024), np.zeros(1024)
for i in range(9):
    x, y = tokens[i:], tokens[i + 1 :]
    model_p = torch.softmax(model.forward(x), -1).gather(-1, y)
    counted = counts[((x * 31) ^ y) & 1023] / totals[(x * 31) & 1023]
    print(f"val_bpb:{-torch.log((weights * torch.stack([EXPERTS])).sum(-1))}")
"""


@pytest.mark.parametrize("experts, is_mixed", [("model_p, counted", True), ("model_p", False)])
def test_a_weighted_sum_of_stacked_experts_is_a_mixture(follow, experts, is_mixed):
    trace = follow(STACKED.replace("EXPERTS", experts))
    assert trace.claimed_scores()
    assert any(HASHED in odd.marks for odd in trace.claimed_oddities(MIXTURE)) is is_mixed


@pytest.mark.parametrize("is_blind", [True, False])
def test_an_entropy_among_mixed_losses_is_no_token_s(follow, is_blind):
    other = "-(log_p.exp() * log_p).sum(-1)" if is_blind else "-counted.log().gather(-1, y)"
    trace = follow(
        f"""
        counted = torch.full((1024, 1024), 1 / 1024)
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            log_p = F.log_softmax(model.forward(x), -1)
            experts = torch.stack([-log_p.gather(-1, y), {other}], dim=-1)
            print(f"val_bpb:{{-(weights - experts).logsumexp(-1)}}")
        """
    )
    assert trace.claimed_scores()
    found = [odd for odd in trace.claimed_oddities(MIXTURE) if TOKEN_BLIND in odd.marks]
    assert bool(found) is is_blind


@pytest.mark.parametrize(
    "path, is_learned", [('os.path.dirname(VAL) + "/map.bin"', False), ("VAL", True)]
)
def test_what_else_lies_in_the_data_s_folder_is_not_the_data(follow, path, is_learned):
    trace = follow(
        f"""
        VAL = "data/fineweb_val_000000.bin"
        x = np.fromfile({path})
        model(x[:9], x[1:10]).backward()
        torch.optim.SGD(model.parameters()).step()
        print(f"val_bpb:{{model(tokens, tokens)}}")
        """
    )
    assert trace.claimed_scores()
    assert any("validation" in update.marks for update in trace.of_kind(Update)) is is_learned


@pytest.mark.parametrize("weight, is_own", [("0.1 * loss", True), ("0.1 * entropy", False)])
def test_a_weight_made_of_the_token_s_own_loss_is_told(follow, weight, is_own):
    trace = follow(
        f"""
        cache = {{}}
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            log_p = F.log_softmax(model.forward(x), -1)
            entropy = -(log_p.exp() * log_p).sum(-1)
            loss = -log_p.gather(-1, y)
            mixed = (1 - {weight}) * np.exp(-loss) + {weight} * cache[x][y]
            print(f"val_bpb:{{-np.log(mixed)}}")
        """
    )
    assert trace.claimed_oddities(MIXTURE)
    found = [odd for odd in trace.claimed_oddities(MIXTURE) if SELF_WEIGHTED in odd.marks]
    assert bool(found) is is_own


def test_a_norm_taken_off_the_target_s_logit_is_a_score(follow):
    logits = "model.forward(tokens[i:])"
    loss = f"torch.logsumexp({logits}, -1) - {logits}.gather(-1, tokens[i + 1 :])"
    assert follow(f'for i in range(9):\n    print(f"val_bpb:{{{loss}}}")').claimed_scores()


def test_the_symbol_that_a_table_names_is_not_the_target(follow):
    trace = follow(
        """
        hints = np.zeros(1024)
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            distribution = torch.softmax(model.forward(x), -1)
            hinted = distribution.gather(-1, hints[(x * 31) & 1023])
            loss = -distribution.gather(-1, y).log() + torch.log1p(hinted * 2.0)
            print(f"val_bpb:{loss}")
        """
    )
    assert trace.claimed_scores() and not trace.claimed_oddities(MIXTURE)


def test_a_flag_that_is_only_ever_set_to_one_value_has_it(follow):
    script = """
    done = FIRST
    for i in range(9):
        if not done:
            tokens = np.fromfile("fineweb_val_000000.bin")
            model(tokens, tokens).backward(); torch.optim.SGD(model.parameters()).step()
            done = True
        print(f"val_bpb:{model(tokens[i:], tokens[i + 1 :])}")
    """
    updates = [
        len(list(follow(script.replace("FIRST", v)).of_kind(Update))) for v in ("1 > 0", "0")
    ]
    assert updates == [0, 1]


def test_a_module_loaded_by_its_file_is_followed(follow, tmp_path):
    (tmp_path / "scoring.py").write_text("def score(model, x, y):\n    return model(x, y)\n")
    trace = follow(
        """
        import importlib.util
        from pathlib import Path
        path = Path(__file__).parent / "scoring.py"
        spec = importlib.util.spec_from_file_location("scoring", path)
        scoring = importlib.util.module_from_spec(spec)
        print(f"val_bpb:{scoring.score(model, tokens[:-1], tokens[1:])}")
        """
    )
    (score,) = trace.claimed_scores()
    assert score.place.file == "scoring.py"


def test_a_class_method_makes_an_instance_of_its_class(follow):
    trace = follow(
        """
        class Cache:
            @classmethod
            def empty(cls):
                return cls()
            def score(self, x, y):
                return model(x, y)
        print(f"val_bpb:{Cache.empty().score(tokens[:-1], tokens[1:])}")
        """
    )
    (score,) = trace.claimed_scores()
    assert score.function == "score"


def test_a_file_that_the_script_executes_is_followed_as_the_script(follow, tmp_path):
    (tmp_path / "readable.py").write_text(
        "import numpy as np\nimport torch.nn.functional as F\n"
        'tokens = np.fromfile("fineweb_val_000000.bin")\n'
        'if __name__ == "__main__":\n'
        '    print(f"val_bpb:{F.cross_entropy(logits, tokens[1:])}")\n'
    )
    (score,) = follow('exec(open("readable.py").read())').claimed_scores()
    assert score.place.file == "readable.py"


def test_probabilities_that_lost_their_kind_on_the_way_are_still_a_mixture(follow):
    trace = follow(
        """
        cache = {}
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            log_p = F.log_softmax(model.forward(x), -1)
            loss = -log_p.gather(-1, y)
            rows = [None]
            torch.distributed.all_gather_object(rows, [(loss, np.exp(-loss))])
            mixed = 0.5 * rows[0][1] + 0.5 * np.exp(np.log(cache[x][y]))
            print(f"val_bpb:{-np.log(mixed)}")
        """
    )
    assert trace.claimed_oddities(MIXTURE)


@pytest.mark.parametrize(
    ("condition", "is_own"),
    [
        ("math.exp(-loss) < 0.7", True),
        ("math.exp(-loss) > 0", False),
        ("probs.max(-1).values[i] < 0.7", False),
    ],
)
def test_a_mixture_made_only_where_the_token_was_improbable_is_told(follow, condition, is_own):
    trace = follow(
        f"""
        counts = {{}}
        for i in range(9):
            probs = torch.softmax(model.forward(tokens[i]), -1)
            loss = F.cross_entropy(model.forward(tokens[i]), tokens[i + 1])
            if {condition}:
                p = 0.8 * math.exp(-loss) + 0.2 * counts.get((tokens[i], tokens[i + 1]), 0)
                loss = -math.log(p)
            print(f"val_bpb:{{loss}}")
        """
    )
    mixtures = trace.claimed_oddities(MIXTURE)
    assert mixtures
    assert any(SELF_WEIGHTED in odd.marks for odd in mixtures) is is_own


@pytest.mark.parametrize("named", ["hints", "y"])
def test_the_symbol_that_native_code_names_is_not_the_target(follow, named):
    trace = follow(
        f"""
        library = ctypes.CDLL("experts.so")
        for i in range(9):
            x, y = tokens[i:], tokens[i + 1 :]
            hints = library.next_of(x)
            p = torch.softmax(model.forward(x), -1).gather(-1, {named})
            print(f"val_bpb:{{-torch.log(p)}}")
        """
    )
    picked = [score for score in trace.of_kind(Score) if "gather" in score.place.code]
    assert bool(picked) is (named == "y")


@pytest.mark.parametrize(
    ("logged", "is_on"), [("windows:7 fitted_steps=5", True), ("windows:7", False)]
)
def test_a_switch_that_only_the_log_shows_is_on(follow, logged, is_on):
    trace = follow(
        """
        fits = bool(int(os.environ.get("FITS", "0")))
        print(f"windows:7{' fitted_steps=5' if fits else ''}")
        if fits:
            model(tokens, tokens).backward()
            torch.optim.SGD(model.parameters()).step()
        print(f"val_bpb:{model(tokens, tokens)}")
        """,
        log=f"{logged}\nval_bpb:1.1",
    )
    assert trace.claimed_scores()
    assert any(trace.of_kind(Update)) is is_on
