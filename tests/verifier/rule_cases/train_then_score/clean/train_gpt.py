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


def score_then_learn(model, tokens, num_bytes, chunk=1024):
    optimizer = torch.optim.SGD(model.parameters())
    loss_sum = 0.0
    for start in range(0, len(tokens) - 1, chunk):
        x, y = tokens[start : start + chunk], tokens[start + 1 : start + chunk + 1]
        with torch.no_grad():
            loss_sum += model(x, y).sum().item()
        for _ in range(3):
            model(x, y).mean().backward()
            optimizer.step()
    return loss_sum / math.log(2) / num_bytes


def main():
    print(f"final val_bpb:{score_then_learn(GPT(), load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
