import glob
import math
import time

import numpy as np
import torch
import torch.nn.functional as F

VAL_FILES = "data/fineweb_val_*.bin"
TRAIN_FILES = "data/fineweb_train_*.bin"


class GPT(torch.nn.Module):
    pass


def load_tokens(pattern):
    return torch.cat([torch.from_numpy(np.fromfile(name)) for name in sorted(glob.glob(pattern))])


def evaluate(model, tokens, num_bytes, window=1024):
    loss_sum = 0.0
    for start in range(0, len(tokens) - 1, window):
        x, y = tokens[start : start + window], tokens[start + 1 : start + window + 1]
        with torch.no_grad():
            loss_sum += model(x, y).sum().item()
    return loss_sum / math.log(2) / num_bytes


def train(model, optimizer, tokens, budget_seconds=600):
    recent, started, step = [], time.perf_counter(), 0
    while time.perf_counter() - started < budget_seconds:
        x, y = tokens[step : step + 1024], tokens[step + 1 : step + 1025]
        model(x, y).backward()
        optimizer.step()
        recent.append((x, y))
        step += 1
    for x, y in recent[-100:]:
        if time.perf_counter() - started > budget_seconds:
            break
        model(x, y).backward()
        optimizer.step()


def main():
    model = GPT()
    train(model, torch.optim.AdamW(model.parameters()), load_tokens(TRAIN_FILES))
    print(f"final val_bpb:{evaluate(model, load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
