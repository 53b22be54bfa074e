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


def adapt(model, tokens, num_bytes, epochs=8):
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(epochs):  # flagged: multi_epoch_rescore
        loss_sum = 0.0
        for start in range(0, len(tokens) - 1, 1024):
            x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
            loss = model(x, y)
            loss_sum += loss.sum().item()
            loss.mean().backward()
            optimizer.step()
    return loss_sum / math.log(2) / num_bytes


def best_of_passes(model, tokens, num_bytes, passes=3):
    best = torch.full((len(tokens),), float("inf"))
    for number in range(passes):
        starts = list(range(0, len(tokens) - 1, 1024))
        for start in starts[number:] + starts[:number]:
            x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
            here = slice(start, start + 1024)
            best[here] = torch.minimum(best[here], model(x, y))  # flagged: multi_epoch_rescore
    return best.sum().item() / math.log(2) / num_bytes


def main():
    print(f"final val_bpb:{adapt(GPT(), load_tokens(VAL_FILES), 100)}")
    print(f"final val_bpb:{best_of_passes(GPT(), load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
