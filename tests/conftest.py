"""What must hold before any test imports the packages."""

import os

import torch

# Decided when Triton is imported: without a GPU, kernels are interpreted.
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")
