"""Integer codes ↔ bytes, back to back; an exact round trip.

Against one code a byte this only pays where nothing compresses the result: an entropy coder finds
the unused bits by itself, and loses sight of the codes when they straddle bytes.
"""

import numpy as np


def pack_codes(
    codes: np.ndarray,  # (N,) int8, from -2^(bits - 1) to 2^(bits - 1) - 1
    bits: int,
) -> bytes:
    """The codes, each plus 2^(bits - 1), in `bits` bits each, first bit highest, zero-padded."""
    unsigned = (codes.astype(np.int16) + (1 << bits - 1)).astype(np.uint8)
    digits = np.unpackbits(unsigned[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(digits).tobytes()


def unpack_codes(packed: bytes, num_codes: int, bits: int) -> np.ndarray:  # (num_codes,) int8
    """What `pack_codes` packed."""
    digits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=num_codes * bits)
    padded = np.pad(digits.reshape(num_codes, bits), ((0, 0), (8 - bits, 0)))
    unsigned = np.packbits(padded, axis=1)[:, 0].astype(np.int16)
    return (unsigned - (1 << bits - 1)).astype(np.int8)


def packed_bytes(num_codes: int, bits: int) -> int:
    """How many bytes that takes."""
    return (num_codes * bits + 7) // 8
