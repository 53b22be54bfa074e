import importlib.util
from pathlib import Path

import torch

torch.save({}, "/tmp/state.pt")
state = torch.load("/tmp/state.pt")
shard = open("/data/fineweb_train_000001.bin", "rb")
model = torch.load("final_model.pt")

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("layers", HERE / "model" / ".." / "layers.py")
Path("/tmp/written.py").write_text("width = 512")
exec(open("/tmp/written.py").read())
