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


def adapt(model, tokens, num_bytes, documents):
    optimizer = torch.optim.Adam(model.parameters())
    for first, last in documents:
        loss_sum = 0.0
        for start in range(first, last, 1024):
            x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
            loss = model(x, y)
            loss_sum += loss.sum().item()
            loss.mean().backward()
            optimizer.step()
    return loss_sum / math.log(2) / num_bytes


def clipped(model, tokens, num_bytes):
    loss_sum, longest = 0.0, 0
    for start in range(0, len(tokens) - 1, 1024):
        end = min(start + 1024, len(tokens) - 1)
        loss = model(tokens[start:end], tokens[start + 1 : end + 1])
        longest = max(longest, end - start)
        loss_sum += loss.sum().item()
    return loss_sum / math.log(2) / num_bytes


def main():
    tokens = load_tokens(VAL_FILES)
    print(f"final val_bpb:{clipped(GPT(), tokens, 100)}")
    print(f"final val_bpb:{adapt(GPT(), tokens, 100, [(0, 5000), (5000, len(tokens))])}")


if __name__ == "__main__":
    main()
