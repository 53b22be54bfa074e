import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.quantization.bit_packing import pack_codes, packed_bytes, unpack_codes
from trainer.quantization.rounding import max_code


@given(bits=st.integers(2, 8), num_codes=st.integers(0, 100), seed=st.integers(0, 99))
def test_codes_come_back_and_take_no_more_bits_than_they_have(bits, num_codes, seed):
    largest = max_code(bits)
    codes = np.random.default_rng(seed).integers(-largest, largest + 1, num_codes).astype(np.int8)
    packed = pack_codes(codes, bits)
    assert len(packed) == packed_bytes(num_codes, bits) == -(-num_codes * bits // 8)
    assert np.array_equal(unpack_codes(packed, num_codes, bits), codes)


def test_the_first_code_comes_first():
    assert pack_codes(np.array([-31, 31, 0, 0], dtype=np.int8), 6) == bytes([0b111, 0xF8, 0x20])
