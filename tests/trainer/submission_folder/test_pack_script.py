import ast
import subprocess
import sys

import pytest

from trainer.submission_folder.pack_script import pack_script, without_comments

SOURCE = '''"""What it is."""
# why
import inspect
import sys


class Empty:
    """Nothing but a docstring."""


def main() -> int:
    """Say so."""
    print(__name__, __file__[-8:], 'it''s', inspect.getsource(main).splitlines()[0])
    return 3


if __name__ == "__main__":
    sys.exit(main())
'''


def test_a_packed_script_runs_as_itself_and_knows_its_source(tmp_path):
    (tmp_path / "train.py").write_text(pack_script(SOURCE, "a\ntitle", "readable.py"))
    ran = subprocess.run([sys.executable, tmp_path / "train.py"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (3, "__main__ train.py its def main() -> int:\n")


def test_an_error_in_a_packed_script_names_its_line(tmp_path):
    (tmp_path / "train.py").write_text(pack_script("def f():\n    1 / 0\nf()\n", "x", "r.py"))
    ran = subprocess.run([sys.executable, tmp_path / "train.py"], capture_output=True, text=True)
    assert 'File "<train_gpt>", line 2, in f' in ran.stderr


def test_only_comments_and_docstrings_are_left_out():
    bare = without_comments(SOURCE)
    assert "why" not in bare and "Say so" not in bare and "Nothing" not in bare
    assert ast.dump(ast.parse(bare)) == ast.dump(ast.parse(without_comments(bare)))


@pytest.mark.parametrize("source", [SOURCE, "x = 'π \\\\ \"'\n"])
def test_the_same_source_gives_the_same_bytes(source):
    packed = pack_script(source, "t", "r.py")
    assert packed == pack_script(source, "t", "r.py") and packed.isascii()
