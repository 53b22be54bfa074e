import numpy as np
import torch

table = np.load("../cache/ngrams.npy")  # flagged: outside_file_read
state = torch.load("/workspace/best/final_model.pt")  # flagged: outside_file_read
