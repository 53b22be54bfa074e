"""A whole submission in small: counts of symbol pairs. The cheats import it and bend one part."""

import array
import math
import os
import random
import sys
import time
import zlib
from pathlib import Path

VOCAB, STEPS = 32, 4
ARTIFACT = Path("model.ptz")
BYTES_A_TOKEN = [1 + symbol % 4 for symbol in range(VOCAB)]


def tokens(split):
    """The symbols of a split's shards, behind their headers."""
    text = array.array("H")
    for shard in sorted(Path(os.environ["DATA_PATH"]).glob(f"fineweb_{split}_*.bin")):
        text.frombytes(shard.read_bytes()[1024:])
    return text


def train(text, seed):
    """Yield the counts after each step; the seed chooses which half of the pairs is seen."""
    choice = random.Random(seed)
    counts = [1] * (VOCAB * VOCAB)
    for step in range(STEPS):
        for position in range(step, len(text) - 1, STEPS):
            if choice.random() < 0.5:
                counts[text[position] * VOCAB + text[position + 1]] += 1
        yield counts


def pack(counts):
    """Counts up to 255, compressed."""
    return zlib.compress(bytes(min(count, 255) for count in counts))


def losses_under(counts, text):
    """Nats of every symbol but the first, given the one before it."""
    totals = [sum(counts[row : row + VOCAB]) for row in range(0, len(counts), VOCAB)]
    return [
        -math.log(counts[before * VOCAB + after] / totals[before])
        for before, after in zip(text, text[1:])
    ]


def score(packed, text):
    """The losses under a packed model."""
    return losses_under(zlib.decompress(packed), text)


def bits_per_byte(losses, text):
    """The metric: bits over the bytes that the scored symbols stand for."""
    return sum(losses) / math.log(2) / sum(BYTES_A_TOKEN[symbol] for symbol in text[1:])


def write_losses(losses):
    """Hand every symbol's loss to whoever asks for it."""
    if name := os.environ.get("PGOLF_TOKEN_LOSSES"):
        Path(name).write_bytes(array.array("f", losses).tobytes())


def print_score(loss, bpb):
    """The line that a verifier reads."""
    print(f"final_roundtrip_exact val_loss:{loss:.8f} val_bpb:{bpb:.8f}")


def run_training():
    """Learn, pack, say how large it is."""
    seed, text, began = int(os.environ["SEED"]), tokens("train"), time.perf_counter()
    print(f"seed:{seed}")
    for step, counts in enumerate(train(text, seed), start=1):
        loss = sum(losses_under(counts, text[:500])) / 499
        milliseconds = 1000 * (time.perf_counter() - began)
        print(f"step:{step}/{STEPS} train_loss:{loss:.4f} train_time:{milliseconds:.0f}ms")
    packed = pack(counts)
    ARTIFACT.write_bytes(packed)
    print(f"Serialized model int8+zlib: {len(packed)} bytes")


def run_evaluation():
    """Score the artifact, and nothing but the artifact."""
    text = tokens("val")
    losses = score(ARTIFACT.read_bytes(), text)
    print(f"val_tokens: {len(losses)}")
    write_losses(losses)
    print_score(sum(losses) / len(losses), bits_per_byte(losses, text))


def main():
    """Both phases, or the one that the command line names."""
    phases = {"train": lambda: run_training(), "evaluate": lambda: run_evaluation()}
    for name in sys.argv[1:] or phases:
        phases[name]()
