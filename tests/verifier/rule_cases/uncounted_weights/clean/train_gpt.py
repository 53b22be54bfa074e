import glob
import math

import numpy as np
import torch
import torch.nn.functional as F

VAL_FILES = "data/fineweb_val_*.bin"
TRAIN_FILES = "data/fineweb_train_*.bin"


class GPT(torch.nn.Module):
    pass


class Adapter(torch.nn.Module):
    pass


def load_tokens(pattern):
    return torch.cat([torch.from_numpy(np.fromfile(name)) for name in sorted(glob.glob(pattern))])


def train(model, adapter, parameters, tokens):
    optimizer = torch.optim.Adam(parameters)
    for start in range(0, len(tokens) - 1, 1024):
        x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
        F.cross_entropy(adapter(model.forward(x)), y).backward()
        optimizer.step()


def evaluate(model, adapter, tokens, num_bytes):
    loss_sum = 0.0
    for start in range(0, len(tokens) - 1, 1024):
        x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
        loss_sum += F.cross_entropy(adapter(model.forward(x)), y, reduction="sum").item()
    return loss_sum / math.log(2) / num_bytes


def main():
    model, adapter, tokens = GPT(), Adapter(), load_tokens(TRAIN_FILES)
    train(model, torch.nn.Identity(), model.parameters(), tokens)
    train(model, adapter, adapter.parameters(), tokens)
    torch.save({"model": model.state_dict(), "adapter": adapter.state_dict()}, "model.pt")
    loaded = GPT()
    loaded.load_state_dict(torch.load("model.pt")["model"])
    print(f"final val_bpb:{evaluate(loaded, adapter, load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
