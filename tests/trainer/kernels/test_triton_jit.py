"""What torch.compile asks of every kernel, told from their source: no GPU is needed."""

import ast
from pathlib import Path

import pytest

SOURCES = sorted(Path("trainer/kernels").rglob("*.py"))
# Arguments that the code which torch.compile writes to launch a kernel adds to the kernel's own.
LAUNCH_ARGUMENTS = {"stream", "grid", "grid_0", "grid_1", "grid_2", "num_warps", "num_stages"}


def kernels(source):
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            if any(isinstance(by, ast.Name) and by.id == "jit" for by in node.decorator_list):
                yield node


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_argument_of_a_kernel_is_called_like_one_of_its_launch(source):
    for kernel in kernels(source):
        names = {argument.arg for argument in kernel.args.args}
        assert not names & LAUNCH_ARGUMENTS, kernel.name


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_kernel_takes_a_number_that_torch_compile_would_widen_to_fp64(source):
    for kernel in kernels(source):
        kinds = {ast.unparse(argument.annotation) for argument in kernel.args.args}
        assert "float" not in kinds, kernel.name


def test_there_are_kernels_to_look_at():
    assert sum(1 for source in SOURCES for _ in kernels(source)) >= 10
