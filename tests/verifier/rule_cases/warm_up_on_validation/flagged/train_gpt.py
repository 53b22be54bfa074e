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


def evaluate(model, tokens, num_bytes, window=1024):
    loss_sum = 0.0
    for start in range(0, len(tokens) - 1, window):
        x, y = tokens[start : start + window], tokens[start + 1 : start + window + 1]
        with torch.no_grad():
            loss_sum += model(x, y).sum().item()
    return loss_sum / math.log(2) / num_bytes


def warm_up(tokens):
    spare = GPT()
    optimizer = torch.optim.SGD(spare.parameters())
    spare(tokens[:1024], tokens[1:1025]).mean().backward()
    optimizer.step()  # flagged: warm_up_on_validation


def main():
    warm_up(load_tokens(VAL_FILES))
    print(f"final val_bpb:{evaluate(GPT(), load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
