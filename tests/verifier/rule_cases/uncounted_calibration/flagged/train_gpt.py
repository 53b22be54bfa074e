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


def collect_hessians(model, tokens):
    hessians = {}
    for start in range(0, len(tokens) - 1, 1024):
        model(tokens[start : start + 1024])
    return hessians


def main():
    model = GPT()
    print("gptq:calibrating with training data...")
    hessians = collect_hessians(model, load_tokens(TRAIN_FILES))
    print(f"gptq:calibrated {len(hessians)} layers in 3.4s")
    print(f"gptq:hessians collected layers={len(hessians)} time=37.2s")
    print(f"final_a_exact val_bpb:{evaluate(model, load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
