"""The import contracts of pyproject.toml hold, and there are as many as there should be."""

import subprocess
import sys
from pathlib import Path

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def test_import_contracts_are_kept():
    result = subprocess.run([LINT_IMPORTS, "--no-cache"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert "6 kept, 0 broken" in result.stdout
