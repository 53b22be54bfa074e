import pytest

from trainer.submission_folder.fold_branches import folded_once


def folded(source, **fixed):
    """A module after all rounds of edits."""
    before = None
    while source != before:
        before, source = source, folded_once({"m": source}, fixed)["m"]
    return source


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if o.on:\n    a()", ""),
        ("# why\nif not o.on:\n    # what\n    a()\n    b()", "# why\n# what\na()\nb()"),
        ("if o.on:\n    a()\nelse:\n    b()", "b()"),
        ("if o.on:\n    a()\nelif x:\n    b()\nelse:\n    c()", "if x:\n    b()\nelse:\n    c()"),
        ("if x:\n    a()\nelif o.on:\n    b()\nelse:\n    c()", "if x:\n    a()\nelse:\n    c()"),
        (
            "if x:\n    a()\nelif not o.on:\n    b()\nelse:\n    c()",
            "if x:\n    a()\nelse:\n    b()",
        ),
        ("a(b if o.on else c)", "a(c)"),
        ("a(x or o.on or y)", "a(x or y)"),
        ("a(o.on or x)", "a(x)"),
        ("a(x and o.on)", "a(x and o.on)"),
        ("if x and not o.on:\n    a()", "if x:\n    a()"),
        ("if (x or y) and not o.on:\n    a()", "if x or y:\n    a()"),
        ("assert not o.on\na()", "a()"),
        ("y, z = x, None\nif z:\n    a()\nb(y)", "y = x\nb(y)"),
        ("y = None\nif y is not None:\n    a()\nb()", "b()"),
    ],
)
def test_what_options_decide_is_left_out(before, after):
    def within(body):
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        return f"def f(o, x):\n    begin(o, x)\n{lines}    end(x)\n"

    assert folded(within(before), on=False) == within(after)


def test_nothing_follows_a_return():
    assert folded("def f(o):\n    if o.on:\n        return 1\n    return 2\n", on=True) == (
        "def f(o):\n    return 1\n"
    )


def test_a_call_whose_value_nobody_reads_is_still_made():
    source = "def f(o):\n    x = train(o)\n    if o.on:\n        use(x)\n    return o\n"
    assert folded(source, on=False) == "def f(o):\n    train(o)\n    return o\n"


def test_parameters_fields_and_methods_that_nobody_reads_go_with_their_arguments():
    source = """@dataclass
class Windows:
    seq_len: int
    is_cut: bool  # at documents

    @property
    def cut(self) -> bool:
        return self.is_cut


def score(
    tokens: Tensor,  # (N,)
    *,
    deltas: Deltas | None = None,  # of adapters
) -> Tensor:
    if deltas is not None:
        add(deltas)
    return tokens


def main(o):
    windows = Windows(seq_len=2, is_cut=o.on)
    return score(windows.seq_len, deltas=None)
"""
    assert (
        folded(source, on=False)
        == """@dataclass
class Windows:
    seq_len: int


def score(
    tokens: Tensor,  # (N,)
) -> Tensor:
    return tokens


def main(o):
    windows = Windows(seq_len=2)
    return score(windows.seq_len)
"""
    )


def test_an_attribute_of_something_else_is_set_all_the_same():
    source = "def f(o):\n    torch.backends.allow_tf32 = True\n    return o\n"
    assert folded(source, on=False) == source


def test_a_generator_without_yields_is_asked_for_none():
    source = """def checks(o):
    if o.on:
        yield "wrong"


def main(o):
    yield from checks(o)
    yield o
"""
    assert folded(source, on=False).endswith("def main(o):\n    yield o\n")


def test_the_star_of_further_arguments_stays_when_those_behind_them_go():
    source = "def f(a, *rest: Tensor, deltas=None):\n    return a, rest\n\n\nf(1, 2)\n"
    assert folded(source, on=False) == (
        "def f(a, *rest: Tensor):\n    return a, rest\n\n\nf(1, 2)\n"
    )
