"""Does what a training script does, without training: reads data, logs, packs, scores."""

import os
import random
import struct
import time
from pathlib import Path

seed, steps = int(os.environ["SEED"]), int(os.environ["STEPS"])
random.seed(seed)
[shard] = Path(os.environ["DATA_PATH"]).glob("fineweb_val_*.bin")
magic, version, num_tokens = struct.unpack("<3i", shard.read_bytes()[:12])
assert (magic, version) == (20240520, 1)
assert Path(os.environ["TOKENIZER_PATH"]).is_file()

print(f"val_loader:shards pattern={shard} tokens:{num_tokens - 1}")
print(f"seed:{seed}")
for step in range(1, steps + 1):
    time.sleep(0.02)
    print(f"step:{step}/{steps} train_loss:{3 - step / steps:.4f} train_time:{20 * step}ms")

time.sleep(0.05)
artifact = random.randbytes(500 + random.randrange(100))
Path("final_model.int8.ptz").write_bytes(artifact)
code_bytes = Path(__file__).stat().st_size
print(f"Serialized model int8+zlib: {len(artifact)} bytes (payload:1 raw_torch:1)")
print(f"Code size: {code_bytes} bytes")
print(f"Total submission size int8+zlib: {code_bytes + len(artifact)} bytes")

time.sleep(0.05)
bits_per_byte = 2 + random.random() / 100
nats_per_token = bits_per_byte * 0.6931471805599453 * 2_500 / (num_tokens - 1)
print(f"final_int8_zlib_roundtrip_exact val_loss:{nats_per_token:.8f} val_bpb:{bits_per_byte:.8f}")
