import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.quantization.entropy_coding import (
    MAX_LANES,
    TOTAL,
    CodedSymbols,
    decode_symbols,
    encode_symbols,
    scaled_to_total,
)


def drawn(num_symbols, seed=0, num_classes=5):
    """Codes whose spread depends on their class."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, num_classes, num_symbols).astype(np.uint16)
    codes = np.rint(random.normal(size=num_symbols) * 2.0**classes)
    return codes.clip(-128, 127).astype(np.int8), classes


def entropy_bytes(codes, classes):
    total = 0.0
    for one in np.unique(classes):
        counts = np.unique(codes[classes == one], return_counts=True)[1]
        total -= (counts * np.log2(counts / counts.sum())).sum()
    return total / 8


@settings(max_examples=60)
@given(num_symbols=st.integers(0, 5000), seed=st.integers(0, 99), num_classes=st.integers(1, 300))
def test_codes_come_back_whatever_their_number_and_classes(num_symbols, seed, num_classes):
    codes, classes = drawn(num_symbols, seed, min(num_classes, 8))
    classes = classes * (num_classes // 8 + 1)  # classes that do not occur are in order
    assert np.array_equal(decode_symbols(encode_symbols(codes, classes), classes), codes)


def test_words_take_the_entropy_and_no_more_than_four_bytes_a_lane():
    codes, classes = drawn(400_000)
    fewest = entropy_bytes(codes, classes)
    assert fewest < len(encode_symbols(codes, classes).words) < 1.001 * fewest + 4 * MAX_LANES


def test_what_is_certain_takes_no_word():
    coded = encode_symbols(np.full(50_000, -7, dtype=np.int8), np.zeros(50_000, dtype=np.uint16))
    assert len(coded.words) == 4 * MAX_LANES


@pytest.mark.parametrize("seed", range(20))
def test_frequencies_add_up_and_leave_no_value_out(seed):
    random = np.random.default_rng(seed)
    counts = np.rint(10 ** random.uniform(-3, 7, 256)).astype(np.int64)
    scaled = scaled_to_total(counts)
    assert scaled.sum() == TOTAL
    assert ((scaled > 0) >= (counts > 0)).all() and (scaled >= 0).all()


def test_many_values_beside_many_rare_ones_are_all_kept():
    counts = np.array([10**9] * 128 + [1] * 128)
    assert scaled_to_total(counts).min() == 1 and scaled_to_total(counts).sum() == TOTAL


def damaged(coded):
    yield CodedSymbols(tables=coded.tables, words=coded.words[:-2])
    yield CodedSymbols(tables=coded.tables, words=coded.words + b"xx")
    yield CodedSymbols(tables=coded.tables, words=coded.words[:4000])
    yield CodedSymbols(tables=coded.tables[512:], words=coded.words)
    yield CodedSymbols(tables=b"\1" + coded.tables[1:], words=coded.words)
    flipped = bytearray(coded.words)
    flipped[5000] ^= 1
    yield CodedSymbols(tables=coded.tables, words=bytes(flipped))


def test_damaged_bytes_are_refused():
    codes, classes = drawn(20_000)
    attempts = list(damaged(encode_symbols(codes, classes)))
    for attempt in attempts:
        with pytest.raises(ValueError):
            decode_symbols(attempt, classes)
    assert len(attempts) == 6
