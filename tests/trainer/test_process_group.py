"""How a process of several ends."""

import subprocess
import sys

import pytest

ENDS = """
import atexit, sys
from trainer import process_group
atexit.register(print, "the interpreter ends")
process_group.KEPT_GROUPS.extend(range(int(sys.argv[1])))
print("done")
sys.exit(process_group.end_process(3))
"""


@pytest.mark.parametrize(
    ("groups", "printed"), [(0, "done\nthe interpreter ends\n"), (1, "done\n")]
)
def test_of_several_a_process_ends_before_the_interpreter_would(groups, printed):
    ran = subprocess.run(
        [sys.executable, "-c", ENDS, str(groups)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (3, printed), ran.stderr
