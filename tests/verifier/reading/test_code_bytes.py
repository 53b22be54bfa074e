"""Which files of a folder count as code, told without running it."""

from pathlib import Path, PurePosixPath

import pytest

from verifier.intake.submission import load_submission
from verifier.reading.code_bytes import count_code, needed_files, rebuilt_wrappers
from verifier.reading.program import load_program

FILES = {
    "helper.py": "import deeper.inner",
    "deeper/__init__.py": "",
    "deeper/inner.py": "",
    "kernel.cu": "__global__",
    "unused.py": "",
    "native/table.bin": "",
    "tokenizer.model": "pieces",
}


def needed(folder: Path, script: str) -> list[str] | None:
    for name, text in FILES.items() | {("train_gpt.py", script)}:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    program = load_program(load_submission(folder))
    code_bytes = count_code(program)
    files = needed_files(program)
    if not files:
        assert code_bytes.literal is code_bytes.rebuilt_wrapper is None
        return None
    assert code_bytes.every_file_opened == sum(file.num_bytes for file in files)
    return sorted(str(file.path) for file in files)


@pytest.mark.parametrize(
    ("script", "others"),
    [
        ("import os, torch", []),
        ("import deeper", ["deeper/__init__.py"]),
        ("from deeper import inner", ["deeper/__init__.py", "deeper/inner.py"]),
        ("exec(open('unused.py').read())", ["unused.py"]),
        ("from torch.utils.cpp_extension import load; load('k', ['kernel.cu'])", ["kernel.cu"]),
        ("k = folder / 'native' / 'table.bin'", ["native/table.bin"]),
        ("if False:\n    def f():\n        import unused", ["unused.py"]),
    ],
)
def test_imports_and_named_files_are_needed(tmp_path, script, others):
    assert needed(tmp_path, script) == sorted(["train_gpt.py", *others])


def test_what_a_needed_file_needs_is_needed(tmp_path):
    names = needed(tmp_path, "import helper")
    assert names == ["deeper/__init__.py", "deeper/inner.py", "helper.py", "train_gpt.py"]


@pytest.mark.parametrize("script", ["def", "(" * 5_000, "x = " + "-" * 200_000 + "1"])
def test_a_script_that_does_not_parse_cannot_be_told(tmp_path, script):
    assert needed(tmp_path, script) is None


def test_files_that_import_each_other_end(tmp_path):
    (tmp_path / "other.py").write_text("import train_gpt")
    assert needed(tmp_path, "import other") == ["other.py", "train_gpt.py"]


@pytest.mark.parametrize("line", ["import unused", "from .. import unused", "x = 'unused.py'"])
def test_a_module_in_a_package_reaches_out_of_it(tmp_path, line):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(line)
    assert "unused.py" in needed(tmp_path, "from package import module")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\\0b", "x" * 5_000])
def test_strange_names_need_nothing(tmp_path, name):
    assert needed(tmp_path, f"open('{name}')") == ["train_gpt.py"]


def test_only_the_widest_convention_counts_tokenizers(tmp_path):
    assert needed(tmp_path, "open('tokenizer.model')") == ["tokenizer.model", "train_gpt.py"]
    code_bytes = count_code(load_program(load_submission(tmp_path)))
    assert code_bytes.every_file_opened - code_bytes.literal == len("pieces")


def test_wrappers_take_the_place_of_the_scripts_alone(tmp_path):
    script = "import helper\nopen('kernel.cu')\n" + "# a comment\n" * 100
    needed(tmp_path, script)
    program = load_program(load_submission(tmp_path))
    smaller = rebuilt_wrappers(program)
    saved = len(script) - len(smaller[PurePosixPath("train_gpt.py")])
    code_bytes = count_code(program)
    assert saved > 0
    assert code_bytes.literal - code_bytes.rebuilt_wrapper == saved
