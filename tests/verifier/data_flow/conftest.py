"""Small scripts are followed as submissions: through the real loader, with real settings."""

import textwrap

import pytest

from verifier.claims.seed_by_seed import collect_claims
from verifier.data_flow import follow_run
from verifier.data_flow.settings import read_settings
from verifier.intake.submission import load_submission
from verifier.reading.program import load_program

PROLOGUE = """
import os
import numpy as np
import torch
import torch.nn.functional as F

class GPT(torch.nn.Module):
    pass

model = GPT()
tokens = np.fromfile("fineweb_val_000000.bin")
"""


@pytest.fixture
def read(tmp_path):
    """A folder's settings: `read(code, readme, log)`."""

    def settings(code="", readme="", log=""):
        (tmp_path / "train_gpt.py").write_text(PROLOGUE + textwrap.dedent(code))
        (tmp_path / "README.md").write_text(textwrap.dedent(readme))
        (tmp_path / "train.log").write_text(textwrap.dedent(log))
        submission = load_submission(tmp_path)
        program = load_program(submission)
        return read_settings(submission, collect_claims(submission), program, 8), program

    return settings


@pytest.fixture
def follow(read):
    """The trace of a script: `follow(code, readme, log)`."""

    def trace(code, readme="", log=""):
        settings, program = read(code, readme, log)
        return follow_run(program, settings)

    return trace
