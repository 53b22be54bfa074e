import torch

torch.save({}, "/tmp/state.pt")
state = torch.load("/tmp/state.pt")
shard = open("/data/fineweb_train_000001.bin", "rb")
model = torch.load("final_model.pt")
