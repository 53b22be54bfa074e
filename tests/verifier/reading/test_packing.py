"""A rebuilt wrapper runs the same code as the script, shows its source, and is never larger."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from verifier.intake.submission import load_submission
from verifier.reading.packing import wrapped
from verifier.reading.program import load_program

PACKAGE = Path(ast.__file__).parent
LONG = "# what stands here is left out\n" * 60
SELF_READING = """import inspect
def f(x):  # by name
    return 2 * x
if __name__ == "__main__":
    print(f(21), inspect.getsource(f).strip().splitlines()[-1].strip(), __doc__)
"""


def rebuilt(text: str) -> bytes:
    return wrapped(text, ast.parse(text))


def run(folder: Path, script: bytes) -> str:
    (folder / "train_gpt.py").write_bytes(script)
    command = [sys.executable, "-I", "train_gpt.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("head", ["", '"""A title."""\n', "from __future__ import annotations\n"])
def test_a_wrapper_prints_what_its_script_prints(tmp_path, head):
    script = head + LONG + SELF_READING
    wrapper = rebuilt(script)
    assert len(wrapper) < len(script)
    assert run(tmp_path, wrapper) == run(tmp_path, script.encode())


@pytest.mark.parametrize("module", ["argparse", "dataclasses", "inspect", "typing", "tarfile"])
def test_the_same_code_is_read_out_of_a_wrapper(tmp_path, module):
    text = (PACKAGE / f"{module}.py").read_text()
    (tmp_path / "train_gpt.py").write_bytes(rebuilt(text))
    program = load_program(load_submission(tmp_path))
    assert not any(code.file == "train_gpt.py" for code in program.opaque)
    assert ast.dump(program.modules[1].tree) == ast.dump(ast.parse(text))
    assert len(rebuilt(text)) < len(text) / 3


@pytest.mark.parametrize("text", ["", "x = 1\n", "print('short')\n"])
def test_what_packing_would_only_lengthen_stays_as_it_is(text):
    assert rebuilt(text) == text.encode()


def test_a_script_too_deep_to_be_written_down_again_is_packed_as_it_was_shipped(tmp_path):
    text = LONG + "x = 1" + " + 1" * 600 + "\n"
    (tmp_path / "train_gpt.py").write_bytes(rebuilt(text))
    assert load_program(load_submission(tmp_path)).modules[1].text == text
