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


def evaluate(model, tokens, num_bytes, buckets=1 << 22):
    contexts, pairs = np.zeros(buckets), np.zeros(buckets)
    loss_sum = 0.0
    for start in range(2, len(tokens) - 1, 1024):
        x, y = tokens[start : start + 1024], tokens[start + 1 : start + 1025]
        loss = F.cross_entropy(model.forward_logits(x), y, reduction="none").numpy()
        context = (x * 36313) & (buckets - 1)
        pair = ((x * 36313) ^ (y * 27191)) & (buckets - 1)
        p = 0.8 * np.exp(-loss) + 0.2 * pairs[pair] / contexts[context]  # flagged: unnormalized_mixture
        loss = -np.log(p)
        loss_sum += loss.sum()
        np.add.at(contexts, context, 1)
        np.add.at(pairs, pair, 1)
    return loss_sum / math.log(2) / num_bytes


def main():
    print(f"final val_bpb:{evaluate(GPT(), load_tokens(VAL_FILES), 100)}")


if __name__ == "__main__":
    main()
