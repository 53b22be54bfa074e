import glob
import math

import numpy as np
import torch


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


def main():
    model, tokens = GPT(), load_tokens("data/fineweb_val_*.bin")
    averages = {"ema": {n: p.clone() for n, p in model.state_dict().items()}}
    best_bpb, best_state = evaluate(model, tokens, 100), model.state_dict()
    for name, state in averages.items():
        model.load_state_dict(state)
        val_bpb = evaluate(model, tokens, 100)
        print(f"diagnostic {name} bpb:{val_bpb}")
        if val_bpb < best_bpb:  # flagged: chosen_on_validation
            best_bpb, best_state = val_bpb, {n: p.clone() for n, p in model.state_dict().items()}
    model.load_state_dict(best_state)
    print(f"final val_bpb:{evaluate(model, tokens, 100)}")


if __name__ == "__main__":
    main()
