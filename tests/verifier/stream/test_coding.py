import numpy as np
import pytest

from verifier.stream.coding import PRECISION_BITS, Decoder, Encoder, shares

RNG = np.random.default_rng(0)


def distributions(num_rows, num_tokens, sharpness):
    logits = sharpness * RNG.standard_normal((num_rows, num_tokens))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("sharpness", [0, 1, 10, 60])
def test_shares_are_whole_numbers_that_add_up(sharpness):
    counts = shares(distributions(8, 1024, sharpness)) * 2**PRECISION_BITS
    assert np.array_equal(counts, np.round(counts)) and counts.min() >= 1
    assert (counts.sum(axis=1) == 2**PRECISION_BITS).all()


@pytest.mark.parametrize("sharpness", [0, 3, 60])
def test_a_code_gives_its_tokens_back_and_is_as_long_as_their_score(sharpness):
    steps = [distributions(16, 300, sharpness) for _ in range(50)]
    texts = [np.array([RNG.choice(300, p=np.exp(row)) for row in rows]) for rows in steps]
    encoder = Encoder()
    for tokens, rows in zip(texts, steps, strict=True):
        encoder.take(tokens.astype(np.uint16), rows)
    decoder = Decoder(encoder.code())
    assert all(np.array_equal(decoder.give(rows), t) for rows, t in zip(steps, texts, strict=True))
    nats = -sum(rows[np.arange(16), t].sum() for rows, t in zip(steps, texts, strict=True))
    assert abs(8 * len(encoder.code()) - nats / np.log(2)) < 64 + 0.001 * nats


def test_a_predictor_that_differs_in_its_last_bits_decodes_other_text():
    steps = [distributions(16, 300, 3) for _ in range(50)]
    encoder, tokens = Encoder(), np.arange(16, dtype=np.uint16)
    for rows in steps:
        encoder.take(tokens, rows)
    decoder = Decoder(encoder.code())
    noisy = [rows + 1e-5 * RNG.standard_normal(rows.shape) for rows in steps]
    assert not all(np.array_equal(decoder.give(rows), tokens) for rows in noisy)


def test_a_code_that_nobody_can_have_made_gives_other_text_too():
    decoder = Decoder(b"\xff" * 16)
    thirds = np.log(np.full((4, 3), 1 / 3))
    assert all(np.array_equal(decoder.give(thirds), np.zeros(4)) for _ in range(3))
