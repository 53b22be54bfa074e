"""Every kernel compiles for an H100, whatever machine this is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "kernel_resources.py"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where what was compiled once is found again."""
    return str(tmp_path_factory.mktemp("triton"))


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param([], id="all"),
        pytest.param(["--frozen"], id="frozen", marks=pytest.mark.slow),  # the same, computing less
    ],
)
def test_at_the_records_shapes_no_kernel_runs_out_of_registers(cache, flags):
    pytest.importorskip("triton", reason="triton is not installed")
    environment = os.environ | {"TRITON_CACHE_DIR": cache}
    ran = subprocess.run(
        [sys.executable, BENCHMARK, *flags], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    seen = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len({line["kernel"] for line in seen}) == 8
    assert [
        line for line in seen if line["spilled_bytes"] or line["shared_bytes"] > 227 << 10
    ] == []
