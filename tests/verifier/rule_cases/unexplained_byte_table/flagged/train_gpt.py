import numpy as np

with np.load("tokenizer.meta.npz") as data:
    base_bytes = data["base_bytes"]  # flagged: unexplained_byte_table
