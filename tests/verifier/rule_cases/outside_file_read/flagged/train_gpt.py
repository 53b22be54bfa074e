import importlib.util
import os
from pathlib import Path

import numpy as np
import torch

table = np.load("../cache/ngrams.npy")  # flagged: outside_file_read
state = torch.load("/workspace/best/final_model.pt")  # flagged: outside_file_read

REPOSITORY = Path(__file__).resolve().parents[3]
BASE = REPOSITORY / "records" / "another_run" / "train_gpt.py"
spec = importlib.util.spec_from_file_location("base", BASE)  # flagged: outside_file_read

above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
source = open(os.path.join(above, "model.py")).read()
exec(source)  # flagged: outside_file_read
exec(open("/workspace/model.py").read())  # flagged: outside_file_read
