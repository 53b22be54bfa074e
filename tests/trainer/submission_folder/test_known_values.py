import ast

import pytest

from trainer.submission_folder.known_values import Known, known_values


def value_of_answer(source, fixed=None):
    """What is known of the name `answer` in the function `main` of a program."""
    tree = ast.parse(source)
    known = known_values([tree], fixed or {})
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "answer"]
    result = known.of(found[-1])
    return result.value if isinstance(result, Known) else "unknown"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("options.depth > 0 and run", False),
        ("options.depth == 0 or run", True),
        ("run and options.depth > 0", "unknown"),  # 0 where run is 0
        ("0 <= options.depth <= 2", True),
        ("3 <= options.depth <= run", False),
        ("not options.depth", True),
        ("run if options.depth else None", None),
        ("5 if run else 5", 5),
        ("5 if run else 5.0", "unknown"),
        ("options.depth is None", False),
        ("options.depth < 'x'", "unknown"),
    ],
)
def test_expressions_are_known_as_far_as_options_decide_them(expression, value):
    source = f"def main(run, options):\n    answer = {expression}\n    return answer\n"
    assert value_of_answer(source, {"depth": 0}) == value


HANDED_ON = """
class Block:
    def __init__(self):
        self.lanes = None
    def forward(self, *, deltas=None):
        return self.feed(deltas=deltas)
    def feed(self, *, deltas=None):
        answer = deltas
        return answer
"""


def test_a_value_that_is_only_handed_on_stays_known():
    assert value_of_answer(HANDED_ON) is None


@pytest.mark.parametrize(
    "spoiler",
    [
        "block.feed(deltas=read())",
        "partial(forward, deltas=3)",
        "def other():\n    Block().forward(deltas=0)",
    ],
)
def test_one_other_binding_anywhere_makes_it_unknown(spoiler):
    assert value_of_answer(f"{spoiler}\n{HANDED_ON}") == "unknown"


@pytest.mark.parametrize(
    "binding",
    [
        "for answer in (None,): pass",
        "with read() as answer: pass",
        "answer += 1",
        "(answer := 2)",
        "answer, b = read()",
        "try: pass\n    except OSError as answer: pass",
        "a = [answer for answer in run]",
    ],
)
def test_what_is_bound_in_any_other_way_is_unknown(binding):
    source = f"def main(run):\n    answer = None\n    {binding}\n    return answer\n"
    assert value_of_answer(source) == "unknown"


def test_a_function_that_only_returns_one_value_is_known_where_it_is_called():
    source = "def gate(o):\n    return None\n\ndef main(run):\n    answer = gate(run)\n    answer"
    assert value_of_answer(source) is None
    assert value_of_answer(source.replace("return None", "print(o)\n    return None")) == "unknown"
