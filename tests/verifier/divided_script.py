"""A script that keeps evaluation apart from training: its score is what its artifact says."""

import array
import os
import random
import struct
import sys
import time
from pathlib import Path

data = Path(os.environ["DATA_PATH"])
ARTIFACT = Path("model.bin")


def train(seed: int) -> None:
    assert not list(data.glob("fineweb_val_*.bin"))
    [shard] = data.glob("fineweb_train_*.bin")
    shard.read_bytes()
    random.seed(seed)
    for step in range(1, 5):
        time.sleep(0.02)
        loss = 3 - step / 4 + random.random() / 10
        print(f"step:{step}/4 train_loss:{loss:.4f} train_time:{20 * step}ms")
    ARTIFACT.write_bytes(struct.pack("<f", 1 + random.random() / 10) + random.randbytes(500))


def evaluate() -> None:
    assert not list(data.glob("fineweb_train_*.bin"))
    [loss] = struct.unpack("<f", ARTIFACT.read_bytes()[:4])
    time.sleep(0.3)  # what a compiler takes before it sees a token
    [shard] = data.glob("fineweb_val_*.bin")
    num_tokens = struct.unpack("<3i", shard.read_bytes()[:12])[2] - 1
    assert 0 < loss < 2, "no model"
    with Path(os.environ["PGOLF_TOKEN_LOSSES"]).open("wb") as file:
        array.array("f", [loss - 0.1, loss + 0.1] * (num_tokens // 2) + [loss]).tofile(file)
    print(f"val_loader:shards pattern={shard} tokens:{num_tokens}")
    bits_per_byte = loss / 0.6931471805599453 * num_tokens / 2_500
    print(f"final_int8_zlib_roundtrip_exact val_loss:{loss:.8f} val_bpb:{bits_per_byte:.8f}")


if sys.argv[1] == "train":
    train(int(os.environ["SEED"]))
else:
    evaluate()
