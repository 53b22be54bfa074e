"""Small functions, small files, few parameters: the budgets of CONTRIBUTING.md."""

import ast
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for folder in ("verifier", "trainer") for p in (ROOT / folder).rglob("*.py"))
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_KERNEL_LINES = 120
MAX_PARAMETERS = 5
TAKE_NO_RECORDS = ("option", "argument", "'jit'")  # in decorators: of commands, of kernels


def functions(path: Path) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]


def body_lines(function: ast.FunctionDef) -> int:
    """First to last line of the def, less its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_sources_are_found():
    assert len(SOURCES) > 60


@pytest.mark.parametrize("package", ["verifier", "trainer"])
def test_functions_are_short(package):
    lengths = [
        body_lines(f)
        for p in SOURCES
        if p.is_relative_to(ROOT / package) and "kernels" not in p.parts
        for f in functions(p)
    ]
    assert median(lengths) <= 10
    assert quantiles(lengths, n=10)[-1] <= 35


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_keeps_its_budget(path):
    longest = MAX_KERNEL_LINES if "kernels" in path.parts else MAX_FUNCTION_LINES
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    for function in functions(path):
        assert body_lines(function) <= longest, function.name
        if not any(
            word in ast.dump(d) for d in function.decorator_list for word in TAKE_NO_RECORDS
        ):
            arguments = [a for a in (*function.args.args, *function.args.kwonlyargs)]
            own = [a for a in arguments if a.arg not in ("self", "cls")]
            assert len(own) <= MAX_PARAMETERS, function.name
