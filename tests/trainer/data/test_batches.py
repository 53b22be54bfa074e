import time
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.batches import (
    MADE_AHEAD,
    cut_documents,
    document_boundaries,
    endless_chunks,
    prefetched,
    prepare_batch,
    train_batches,
)
from trainer.data.token_shards import shard_paths, write_shard
from trainer.errors import DataError
from trainer.process_group import ProcessGroup
from trainer.recipe import BOS_ID
from trainer.recipe_checks import build_recipe

CPU = torch.device("cpu")


@pytest.fixture
def shards(tmp_path):
    sizes = {"a": range(10), "b": range(10, 13), "c": range(13, 30)}
    for name, tokens in sizes.items():
        write_shard(tmp_path / f"{name}.bin", np.array(tokens))
    return [tmp_path / f"{name}.bin" for name in sizes]


@pytest.mark.parametrize("size", [1, 4, 7, 30, 65])
def test_chunks_run_through_all_shards_and_begin_again(shards, size):
    chunks = list(islice(endless_chunks(shards, size), 12))
    expected = np.arange(12 * size) % 30
    assert all(len(chunk) == size for chunk in chunks)
    assert np.array_equal(np.concatenate(chunks), expected)


@pytest.mark.parametrize("skipped", [4, 10, 12, 30, 77])
def test_chunks_begin_where_an_earlier_run_left_off(shards, skipped):
    chunks = list(islice(endless_chunks(shards, 4, skipped_tokens=skipped), 9))
    assert np.array_equal(np.concatenate(chunks), (skipped + np.arange(36)) % 30)


def test_targets_are_the_tokens_after_the_inputs(tiny_recipe):
    batch = prepare_batch(np.arange(65, dtype=np.uint16), tiny_recipe).on(CPU, 16)
    assert batch.input_ids.shape == (4, 16)
    assert torch.equal(batch.target_ids, batch.input_ids + 1)


def test_two_processes_share_the_batches_of_one(tiny_recipe, tiny_data, alone):
    paths = shard_paths(tiny_data / "datasets" / "tiny", "train")
    both = [ProcessGroup(rank=rank, world_size=2, device=torch.device("cpu")) for rank in range(2)]
    single = islice(train_batches(paths, tiny_recipe, alone), 6)
    paired = zip(*(train_batches(paths, tiny_recipe, group) for group in both), strict=True)
    dealt = [batch for pair in islice(paired, 3) for batch in pair]
    for one, other in zip(single, dealt, strict=True):
        assert np.array_equal(one.ids, other.ids)


def test_a_token_outside_the_vocabulary_is_named(tiny_recipe):
    tokens = np.full(17, 320, dtype=np.uint16)
    with pytest.raises(DataError, match="token id 320 .* vocab_size is 320"):
        prepare_batch(tokens, tiny_recipe)


def test_too_few_tokens_are_refused(tiny_recipe, tmp_path, alone):
    write_shard(tmp_path / "short.bin", np.arange(64))
    with pytest.raises(DataError, match="64 training tokens"):
        next(train_batches([tmp_path / "short.bin"], tiny_recipe, alone))


def test_packed_documents_stand_in_one_row_and_say_where_they_begin(tiny_settings):
    recipe = build_recipe(tiny_settings | {"batch.pack_documents": True})
    tokens = np.full(65, 7, dtype=np.uint16)
    tokens[[0, 5, 40]] = BOS_ID
    batch = prepare_batch(tokens, recipe).on(CPU, 16)
    assert batch.input_ids.shape == (1, 64) and batch.target_ids[0, 4] == BOS_ID
    assert batch.boundaries.unique().tolist() == [0, 5, 21, 37, 40, 56, 64]  # 16 tokens at most


def test_a_row_begins_a_document_whatever_it_begins_with():
    ids = np.array([[7, 7, BOS_ID], [7, 7, 7]])
    boundaries = document_boundaries(ids, longest=8)
    assert np.unique(boundaries).tolist() == [0, 2, 3, 6] and boundaries.dtype == np.int32


@given(starts=st.sets(st.integers(1, 199)), longest=st.integers(1, 250))
def test_documents_are_cut_as_rarely_as_their_length_allows(starts, longest):
    starts = sorted(starts | {0})
    cuts = np.unique(cut_documents(np.array(starts), 200, longest)).tolist()
    parts = [-(-(end - start) // longest) for start, end in pairwise([*starts, 200])]
    assert set(starts) <= set(cuts) and len(cuts) == sum(parts) + 1
    assert all(end - start <= longest for start, end in pairwise(cuts))


def test_nearly_all_batches_have_equally_many_boundaries():
    random = np.random.default_rng(0)
    counts = {
        document_boundaries((random.random((1, 4096)) * rate).astype(int), longest=2048).size
        for rate in (2000, 1000, 500)
    }
    assert counts == {33}


def test_items_are_made_ahead_in_order_and_no_farther_than_asked():
    made = []
    items = prefetched(made.append(number) or number for number in range(20))
    assert next(items) == 0
    while len(made) < MADE_AHEAD:
        time.sleep(0.01)
    time.sleep(0.2)  # in which one that goes farther would have
    assert made == list(range(MADE_AHEAD))
    assert list(items) == list(range(1, 20))


def test_what_goes_wrong_ahead_is_raised_in_its_turn():
    items = prefetched(1 // number for number in (1, -1, 0, 1))
    assert [next(items), next(items)] == [1, -1]
    with pytest.raises(ZeroDivisionError):
        next(items)
