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


def adapt(model, tokens, num_bytes, window=1024):
    """Each chunk is scored, then learned, unless it was harder than those before it."""
    loss_sum, last, kept = 0.0, math.inf, model.state_dict()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for start in range(0, len(tokens) - 1, window):
        x, y = tokens[start : start + window], tokens[start + 1 : start + window + 1]
        loss = model(x, y).sum()
        loss_sum += loss.item()
        if loss.item() < last:
            last, kept = loss.item(), {n: p.clone() for n, p in model.state_dict().items()}
        else:
            model.load_state_dict(kept)
        loss.backward()
        optimizer.step()
    return loss_sum / math.log(2) / num_bytes


def main():
    model, tokens = GPT(), load_tokens("data/fineweb_val_*.bin")
    best_bpb = math.inf
    for name in ("raw", "ema"):
        val_bpb = evaluate(model, tokens, 100)
        if val_bpb < best_bpb:
            best_bpb, best_name = val_bpb, name
            print(f"diagnostic {best_name} is better so far: {best_bpb}")
    print(f"final val_bpb:{adapt(model, tokens, 100)}")


if __name__ == "__main__":
    main()
