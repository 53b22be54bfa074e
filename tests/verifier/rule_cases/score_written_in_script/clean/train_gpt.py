"""PRIOR_BPB is another record's; 1.2345 is what this script once printed."""

import torch
from torch import nn

PRIOR_BPB = 1.2411
WARMDOWN = 1.2345
model = nn.Linear(8, 8)


def main():
    loss = model(torch.randn(4, 8)).square().mean()
    bpb = loss.item() * 0.5925
    print(f"val_loss:{loss.item():.4f} val_bpb:{bpb:.4f} gain {PRIOR_BPB - bpb:.4f}")


main()
