import math

import numpy as np
import pytest
import torch

from trainer.data.byte_lengths import ByteTable
from trainer.data.token_shards import write_shard
from trainer.errors import DataError
from trainer.evaluation.bits_per_byte import (
    bits_per_byte,
    load_validation_tokens,
    write_token_losses,
)


def test_bits_per_byte_is_total_bits_over_total_bytes():
    # Token 0 is a boundary, 1 is "ab", 2 is " cde" (the space is free after a boundary).
    table = ByteTable(
        base_bytes=np.array([0, 2, 3], dtype=np.int16),
        has_leading_space=np.array([False, False, True]),
        is_boundary=np.array([True, False, False]),
    )
    tokens = np.array([1, 2, 0, 2, 1], dtype=np.uint16)
    score = bits_per_byte(torch.full((4,), math.log(2.0)), tokens, table)
    assert (score.num_tokens, score.num_bytes) == (4, 4 + 0 + 3 + 2)
    assert score.bits_per_byte == pytest.approx(4 / 9, rel=1e-6)
    assert score.loss_nats == pytest.approx(math.log(2.0), rel=1e-6)


def test_validation_is_cut_to_whole_sequences_over_all_shards(tmp_path):
    write_shard(tmp_path / "fineweb_val_000000.bin", np.arange(30))
    write_shard(tmp_path / "fineweb_val_000001.bin", np.arange(30, 50))
    assert load_validation_tokens(tmp_path, 16).tolist() == list(range(49))
    assert load_validation_tokens(tmp_path, 16, keep_tail=True).tolist() == list(range(50))
    with pytest.raises(DataError, match="50 validation tokens, but one sequence takes 65"):
        load_validation_tokens(tmp_path, 64)


def test_token_losses_are_little_endian_floats(tmp_path):
    write_token_losses(torch.tensor([1.5, 0.25]), tmp_path / "losses")
    assert np.fromfile(tmp_path / "losses", dtype="<f4").tolist() == [1.5, 0.25]
