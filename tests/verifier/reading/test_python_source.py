"""Scripts for newer Python are parsed by the Python that is here."""

import ast

import pytest

from verifier.reading.python_source import all_nodes, parse_python, with_older_fstrings

NEWER = [
    'f"a{x["k"]}b"',
    "f'{\",\".join(a['b'])}'",
    'f"{"\\n".join(x)}: {y:>{w}}"',
    'f"{f"{x["a"]}"}"',
    'print(f"{a["b"]}"\n  "c", f\'{d}\')',
    'f"{x["a"]!r:>{w["n"]}} {{}}"',
]


@pytest.mark.parametrize("text", NEWER)
def test_newer_fstrings_are_parsed_with_their_names_in_place(text):
    lines = {node.id: node.lineno for node in ast.walk(parse_python(text)) if hasattr(node, "id")}
    assert lines and all(line == 1 for name, line in lines.items() if name != "d")


def test_what_is_older_already_keeps_its_meaning():
    text = "f'{a}' \"f'{\" # f'{\nx = f\"{b!r:>{w}} {{c}}\"\ns = '''f\"{'''\n"
    assert ast.dump(parse_python(with_older_fstrings(text))) == ast.dump(ast.parse(text))


@pytest.mark.parametrize("text", ["f'{", "f'{x", "f'{x}", "'''", "x = (", "f'" + "{f'" * 50])
def test_what_is_broken_is_a_syntax_error(text):
    with pytest.raises(SyntaxError):
        parse_python(text)


def test_all_nodes_are_those_of_the_standard_walk_less_contexts_and_operators():
    tree = parse_python(
        "def f(a=1):\n    [x.y for x in a if not -x < 2]\n    return a[:1] + f'{a}'"
    )
    walked = [n for n in ast.walk(tree) if n._fields]
    assert [n for n in all_nodes(tree) if n._fields] == walked


@pytest.mark.parametrize("line", ["a=b\n", "f'{a+a}'\n", "# it's\na=b\n", "'' # '''\na=b\n"])
def test_more_code_than_memory_allows_is_not_parsed(line):
    with pytest.raises(SyntaxError, match="characters of code"):
        parse_python(line * 300_000)


@pytest.mark.parametrize("quote", ["'", '"', "'''", '"""'])
def test_a_long_string_is_no_code(quote):
    (statement,) = parse_python(f"0 or{quote}{'q' * 3_000_000}{quote} # {quote}").body
    assert len(statement.value.values[1].value) == 3_000_000
