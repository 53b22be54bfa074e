"""What the harness's own part of a streamed answer costs: check, score, code, and give back.

python benchmarks/stream_speed.py
"""

import time

import numpy as np

from verifier.stream.coding import Decoder, Encoder
from verifier.stream.protocol import read_distributions

SIZES = ((64, 1024), (512, 1024), (64, 8192), (512, 8192))
SECONDS_EACH = 2.0


def answer(num_lanes: int, vocabulary: int) -> tuple[bytes, np.ndarray]:
    """The bytes of an answer about as sharp as a language model's, and tokens drawn from it."""
    rng = np.random.default_rng(0)
    logits = 2.5 * rng.standard_normal((num_lanes, vocabulary))
    rows = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype("<f4")
    tokens = [rng.choice(vocabulary, p=np.exp(row) / np.exp(row).sum()) for row in rows]
    return rows.tobytes(), np.array(tokens, dtype=np.uint16)


def tokens_per_second(num_lanes: int, vocabulary: int) -> tuple[float, float]:
    """Of checking alone, and with the score and the code."""
    body, tokens = answer(num_lanes, vocabulary)
    encoder, spent, rounds = Encoder(), np.zeros(2), 0
    while spent.sum() < SECONDS_EACH:
        began = time.perf_counter()
        held = read_distributions(body, vocabulary, rounds).log_probabilities
        checked = time.perf_counter()
        _ = -held[np.arange(num_lanes), tokens]
        encoder.take(tokens, held)
        spent += (checked - began, time.perf_counter() - checked)
        rounds += 1
    decoder = Decoder(encoder.code())
    assert all((decoder.give(held) == tokens).all() for _ in range(min(rounds, 20)))
    return rounds * num_lanes / spent[0], rounds * num_lanes / spent.sum()


if __name__ == "__main__":
    print("| lanes | vocabulary | checked tokens/s | with score and code |")
    for lanes, vocabulary in SIZES:
        checked, coded = tokens_per_second(lanes, vocabulary)
        print(f"| {lanes} | {vocabulary:,} | {checked:,.0f} | {coded:,.0f} |")
