"""With the instrument, two trainings of one seed on a GPU end with the same bits."""

import os
import subprocess
import sys

import pytest

from verifier.probe.watched.watching import INSTRUMENT, INSTRUMENTED

pytestmark = pytest.mark.gpu
SCRIPT = """
import torch, torch.nn.functional as F
torch.manual_seed(1)
words, dim, heads = 512, 128, 4
table = torch.nn.Parameter(torch.randn(words, dim, device="cuda"))
turn = torch.nn.Parameter(torch.randn(dim, 3 * dim, device="cuda") / dim**0.5)
optimizer = torch.optim.Adam([table, turn], lr=0.05)
tokens = torch.randint(words, (8, 1025), device="cuda")
for _ in range(20):
    with torch.autocast("cuda", torch.bfloat16):
        stream = F.embedding(tokens[:, :-1], table)
        split = (stream @ turn).view(8, 1024, 3 * heads, dim // heads).transpose(1, 2)
        gathered = F.scaled_dot_product_attention(*split.chunk(3, dim=1), is_causal=True)
        logits = (stream + gathered.transpose(1, 2).reshape(8, 1024, dim)) @ table.T
    loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item().hex(), table.double().sum().item().hex(), turn.double().sum().item().hex())
"""


def test_two_trainings_of_one_seed_are_alike(tmp_path):
    environment = os.environ | INSTRUMENTED | {"PYTHONPATH": str(INSTRUMENT)}
    printed = set()
    for _ in range(4):
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        printed.add(ran.stdout)
    assert len(printed) == 1
