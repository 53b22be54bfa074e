"""A table of pairs in PyTorch that trains, learns the validation text as MODE says, and scores."""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

MODE = "plain"
CHUNK = 512


def read(split: str) -> torch.Tensor:
    [shard] = Path(os.environ["DATA_PATH"]).glob(f"fineweb_{split}_*.bin")
    return torch.from_numpy(np.fromfile(shard, dtype="<u2", offset=1024).astype(np.int64))


def score(tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return F.cross_entropy(table[tokens[:-1]], tokens[1:], reduction="none")


def learn(tokens: torch.Tensor) -> None:
    F.cross_entropy(table[tokens[:-1]], tokens[1:]).backward()
    optimizer.step()
    optimizer.zero_grad()


def score_first(tokens: torch.Tensor) -> torch.Tensor:
    scored = []
    for begin in range(0, len(tokens) - 1, CHUNK):
        part = tokens[begin : begin + CHUNK + 1]
        scored.append(score(part))
        learn(part)
    return torch.cat(scored)


torch.manual_seed(int(os.environ["SEED"]))
training, tape = read("train"), read("val")
table = torch.nn.Parameter(torch.zeros(1_024, 1_024))
optimizer = torch.optim.Adam([table], lr=0.1)
for begin in range(0, 10_000, 2_000):
    learn(training[begin : begin + 2_000])
if MODE == "train_then_score":
    learn(tape)
if MODE == "score_first":
    losses = score_first(tape)
elif MODE == "best_of_passes":
    first = score(tape)
    learn(training[:2_000])
    losses = torch.minimum(first, score(tape))
elif MODE == "own_losses":
    losses = -table.detach().log_softmax(1)[tape[:-1], tape[1:]]
else:
    losses = score(tape)
print(f"final_exact val_loss:{losses.double().mean():.8f} val_bpb:2.00000000")
