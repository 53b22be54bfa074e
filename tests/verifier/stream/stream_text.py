"""A small text of documents, and the example that docs/stream.md shows."""

import struct
from pathlib import Path

import numpy as np

from verifier.rulebook import rules_folder

PAGE = rules_folder().parent / "docs" / "stream.md"
NUM_DOCUMENTS, BOS = 60, 1
CONTRACT = {
    "train": "python train_gpt.py train",
    "evaluate": "python train_gpt.py evaluate",
    "artifact": ["model.npy"],
    "stream": {"command": "python train_gpt.py stream", "pieces": "documents", "lanes": 16},
}


def example() -> str:
    """The script that the page shows."""
    return PAGE.read_text().split("```python\n")[1].split("```")[0]


def text(seed: int) -> np.ndarray:
    """Documents of random length; a symbol is most often followed by the next."""
    rng = np.random.default_rng(seed)
    parts = []
    for length in rng.integers(5, 40, NUM_DOCUMENTS):
        steps = rng.choice([1, 5, 11], p=[0.8, 0.1, 0.1], size=length)
        parts += [[BOS], 4 + (rng.integers(60) + np.cumsum(steps)) % 60]
    return np.concatenate(parts).astype(np.uint16)


def write_tokens(path: Path, tokens: np.ndarray) -> None:
    header = struct.pack("<3i", 20240520, 1, len(tokens)).ljust(1024, b"\0")
    path.write_bytes(header + tokens.astype("<u2").tobytes())
