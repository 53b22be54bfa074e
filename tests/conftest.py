"""What must hold before any test imports the packages."""

import os
import signal

import torch
from hypothesis import HealthCheck, settings

# Decided when Triton is imported: without a GPU, kernels are interpreted.
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

# What is started in the background ignores Ctrl-C, and so would every process under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples are the same each time and may take as long as they like: neither luck nor load decides.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")
