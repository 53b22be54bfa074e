import glob
import math

import numpy as np
import torch
import torch.nn.functional as F

VAL_FILES = "data/fineweb_val_*.bin"
TRAIN_FILES = "data/fineweb_train_*.bin"


class GPT(torch.nn.Module):
    pass


def load_tokens(pattern):
    return torch.cat([torch.from_numpy(np.fromfile(name)) for name in sorted(glob.glob(pattern))])


def learn(model, tokens, epochs, window=1024):
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        for start in range(0, len(tokens) - 1, window):
            x, y = tokens[start : start + window], tokens[start + 1 : start + window + 1]
            model(x, y).mean().backward()
            optimizer.step()  # flagged: train_then_score
        schedule.step()


def evaluate(model, tokens, num_bytes, window=1024):
    loss_sum = 0.0
    for start in range(0, len(tokens) - 1, window):
        x, y = tokens[start : start + window], tokens[start + 1 : start + window + 1]
        with torch.no_grad():
            loss_sum += model(x, y).sum().item()
    return loss_sum / math.log(2) / num_bytes


def main():
    model = GPT()
    learn(model, load_tokens(TRAIN_FILES), epochs=1)
    learn(model, load_tokens(VAL_FILES), epochs=10)
    print(f"final val_bpb:{evaluate(model, load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
