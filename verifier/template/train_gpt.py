"""A complete small submission of the demo track: replace the model, keep what is around it.

    python train_gpt.py             train, pack, evaluate, as the verifier runs it by default
    python train_gpt.py train       stop when the artifact is written; validation data stay unopened
    python train_gpt.py evaluate    start from the artifact and this file alone

The next token's distribution depends on the token before it: softmax(E[token] @ U), E and U of rank
RANK. It is causal, normalised, and scored in one pass before anything could learn from the score.
"""

import os
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import sentencepiece

ARTIFACT = Path("model.int8.z")
HEADER_WORDS = 256  # a shard is 256 words of 4 bytes, the third the number of tokens, then uint16
RANK, STEPS, BATCH, LEARNING_RATE = 24, 200, 2048, 1.0


def tokens(split: str) -> np.ndarray:
    """All tokens of the shards of a split, in order."""
    folder = Path(os.environ.get("DATA_PATH", "data/demo/datasets/jargon"))
    shards = sorted(folder.glob(f"fineweb_{split}_*.bin"))
    return np.concatenate([np.fromfile(s, "<u2", offset=4 * HEADER_WORDS) for s in shards])


def pieces() -> sentencepiece.SentencePieceProcessor:
    """The tokenizer that the data were made with."""
    path = os.environ.get("TOKENIZER_PATH", "data/demo/tokenizers/jargon.model")
    return sentencepiece.SentencePieceProcessor(model_file=path)


def scored_bytes(text: np.ndarray) -> int:
    """The bytes that the targets text[1:] stand for; a space counts unless a document starts."""
    sp = pieces()
    ids = range(sp.vocab_size())
    is_mark = np.array([sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i) for i in ids])
    words = [sp.id_to_piece(i) for i in ids]
    has_space = np.array([word.startswith("\u2581") for word in words])
    length = np.array(
        [
            0 if is_mark[i] else 1 if sp.is_byte(i) else len(words[i].lstrip("\u2581").encode())
            for i in ids
        ]
    )
    before, target = text[:-1], text[1:]
    return int((length[target] + (has_space[target] & ~is_mark[before])).sum())


def log_probabilities(left: np.ndarray, right: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Of every possible next token, in nats; each row sums to one."""
    logits = left[before] @ right  # (B, V)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def train(seed: int) -> None:
    """Plain gradient descent on the cross-entropy, then eight-bit rounding and zlib."""
    text, vocabulary = tokens("train"), pieces().vocab_size()
    generator = np.random.default_rng(seed)
    left = generator.normal(0, 0.3, (vocabulary, RANK)).astype(np.float32)
    right = generator.normal(0, 0.3, (RANK, vocabulary)).astype(np.float32)
    start = time.perf_counter()
    for step in range(1, STEPS + 1):
        at = generator.integers(0, len(text) - 1, BATCH)
        before, target = text[at], text[at + 1]
        log_p = log_probabilities(left, right, before)
        loss = -log_p[np.arange(BATCH), target].mean()
        error = np.exp(log_p)
        error[np.arange(BATCH), target] -= 1  # (B, V) gradient of the loss by the logits
        rate = LEARNING_RATE * (1 - step / STEPS)
        counts = np.bincount(before, minlength=vocabulary)[before][:, None]
        gradient = error @ right.T / np.sqrt(counts)
        push = left[before].T @ error / np.sqrt(BATCH) / 4  # bounded, for data of any kind
        right -= rate * push / max(1, np.linalg.norm(push) / 4)
        np.add.at(left, before, -rate * gradient)
        if step <= 5 or step % 50 == 0:
            spent_ms = 1000 * (time.perf_counter() - start)
            print(
                f"step:{step}/{STEPS} train_loss:{loss:.4f} train_time:{spent_ms:.0f}ms "
                f"step_avg:{spent_ms / step:.2f}ms",
                flush=True,
            )
    write_artifact(left, right)


def write_artifact(left: np.ndarray, right: np.ndarray) -> None:
    """Eight bits a weight with one scale a matrix, compressed."""
    scales = np.array([np.abs(left).max() / 127, np.abs(right).max() / 127], dtype="<f4")
    codes = [np.rint(m / s).astype(np.int8) for m, s in zip((left, right), scales, strict=True)]
    raw = scales.tobytes() + b"".join(code.tobytes() for code in codes)
    ARTIFACT.write_bytes(zlib.compress(raw, 9))
    model_bytes, code_bytes = ARTIFACT.stat().st_size, Path(__file__).stat().st_size
    print(f"Code size: {code_bytes} bytes")
    print(f"Serialized model int8+zlib: {model_bytes} bytes")
    print(f"Total submission size int8+zlib: {model_bytes + code_bytes} bytes", flush=True)


def read_artifact() -> tuple[np.ndarray, np.ndarray]:
    """The weights as evaluation sees them, after rounding."""
    raw = zlib.decompress(ARTIFACT.read_bytes())
    scales = np.frombuffer(raw[:8], "<f4")
    codes = np.frombuffer(raw[8:], np.int8).astype(np.float32)
    left, right = np.split(codes, 2)
    return left.reshape(-1, RANK) * scales[0], right.reshape(RANK, -1) * scales[1]


def evaluate() -> None:
    """Score every validation token once, from left to right, with the artifact as it is on disk."""
    left, right = read_artifact()
    text = tokens("val")
    print(f"val_tokens: {len(text) - 1}", flush=True)
    start = time.perf_counter()
    losses = np.empty(len(text) - 1, dtype="<f4")
    for begin in range(0, len(losses), BATCH):
        before, target = text[:-1][begin : begin + BATCH], text[1:][begin : begin + BATCH]
        log_p = log_probabilities(left, right, before)
        losses[begin : begin + BATCH] = -log_p[np.arange(len(target)), target]
    if "PGOLF_TOKEN_LOSSES" in os.environ:
        losses.tofile(os.environ["PGOLF_TOKEN_LOSSES"])
    loss = losses.mean(dtype=np.float64)
    bpb = loss / np.log(2) * len(losses) / scored_bytes(text)
    spent_ms = 1000 * (time.perf_counter() - start)
    score = f"val_loss:{loss:.8f} val_bpb:{bpb:.8f} eval_time:{spent_ms:.0f}ms"
    print(f"final_int8_zlib_roundtrip {score}")


def main() -> None:
    """Both phases, or the one that is named."""
    phases = sys.argv[1:] or ["train", "evaluate"]
    if "train" in phases:
        seed = int(os.environ.get("SEED", "42"))
        print(f"seed:{seed}", flush=True)
        train(seed)
    if "evaluate" in phases:
        evaluate()


if __name__ == "__main__":
    main()
