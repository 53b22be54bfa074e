"""Each kernel test runs in Triton's interpreter and, marked `gpu`, on a real one."""

import os

import pytest
import torch

on_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(params=[pytest.param("cpu", id="interpreter"), pytest.param("cuda", marks=on_gpu)])
def device(request):
    pytest.importorskip("triton", reason="triton is not installed")
    if request.param == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles for this machine's GPU and interprets nothing")
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Memory that nothing wrote is NaN; sums on GPUs are in full fp32."""
    allows_tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.matmul.allow_tf32 = allows_tf32
