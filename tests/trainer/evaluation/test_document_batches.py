from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.document_batches import (
    Document,
    batch_cost,
    batches_of,
    chunks_from_the_start,
    chunks_of_length,
    dealt_batches,
    find_documents,
    parts_between_phases,
    passes_of,
    window_of,
)
from trainer.recipe import EvaluationOptions

OPTIONS = EvaluationOptions(ttt_chunk_size=4, ttt_eval_seq_len=12, ttt_batch_size=3)


def of_lengths(*lengths):
    return [Document(start=n, num_targets=n) for n in lengths]


def lengths_of(batches):
    return [[document.num_targets for document in batch] for batch in batches]


def test_documents_cover_every_target_once():
    tokens = np.full(60, 7, np.uint16)
    tokens[[0, 1, 8, 21, 51]] = 1
    assert [document.num_targets for document in find_documents(tokens)] == [1, 7, 13, 30, 8]
    assert [document.start for document in find_documents(tokens[2:])] == [0, 6, 19, 49]


def test_chunks_grow_with_the_place_in_the_document():
    options = replace(OPTIONS, ttt_first_chunk_sizes="4:2,9:3")
    starts = [chunk.start for chunk in islice(chunks_from_the_start(options), 7)]
    assert starts == [0, 2, 4, 7, 10, 14, 18]


@given(st.integers(0, 200), st.sampled_from(["", "4:2", "4:2,9:3"]))
def test_chunks_cover_a_document_of_any_length_and_windows_end_with_them(length, first_sizes):
    options = replace(OPTIONS, ttt_first_chunk_sizes=first_sizes)
    chunks = list(chunks_of_length(length, options))
    assert [*range(length)] == [p for chunk in chunks for p in chunk if p < length]
    windows = [window_of(chunk, options) for chunk in chunks]
    assert all(w.stop == c.stop and len(w) <= 12 for w, c in zip(windows, chunks, strict=True))


def test_batches_hold_documents_of_like_length_the_longest_first():
    batches = batches_of(of_lengths(30, 8, 2, 1), OPTIONS, 1)
    assert lengths_of(batches) == [[30, 8, 2], [1, 0]]


def test_short_documents_stand_in_larger_batches_where_tokens_are_counted():
    options = replace(OPTIONS, ttt_batch_size=8, ttt_batch_tokens=24)
    batches = batches_of(of_lengths(30, 20, 12, 6, *[3] * 10), options, 1)
    assert lengths_of(batches) == [[30, 20], [12, 6], [3] * 8, [3] * 2]


def test_long_documents_stand_in_smaller_batches_where_processes_would_wait_for_them():
    options = replace(OPTIONS, ttt_batch_size=512, ttt_eval_seq_len=2000)
    documents = of_lengths(*[400] * 512, *[5] * 512)
    sizes = [[len(b) for b in batches_of(documents, options, n)] for n in (1, 4)]
    assert sizes[0] == [512, 512]
    assert len(sizes[1]) > 3 and sizes[1][-1] == 512 and sum(sizes[1]) == 1024
    shorter = [batch_cost(documents[:size], options) for size in (512, sizes[1][0])]
    assert shorter[1] <= 0.75 * shorter[0]


def test_documents_leave_a_batch_once_an_eighth_of_them_is_over():
    batch = of_lengths(20, *[12] * 7, *[8] * 7, 3)
    read = [(chunk.start, num_read) for chunk, num_read in passes_of(batch, OPTIONS)]
    assert read == [(0, 16), (4, 16), (8, 8), (12, 2), (16, 2)]


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
def test_every_document_is_dealt_once_and_no_process_has_a_batch_more_to_do(num_processes):
    lengths = np.random.default_rng(0).lognormal(3, 1.2, 500).astype(int) + 1
    documents = of_lengths(*sorted(lengths.tolist(), reverse=True))
    dealt = dealt_batches(documents, OPTIONS, num_processes)
    found = [n for own in dealt for batch in lengths_of(own) for n in batch if n]
    assert sorted(found) == sorted(lengths.tolist())
    costs = [[batch_cost(batch, OPTIONS) for batch in own] for own in dealt]
    assert max(map(sum, costs)) - min(map(sum, costs)) <= max(map(max, costs))


def test_the_longest_documents_come_first_in_equal_parts_with_a_phase_after_each():
    options = replace(OPTIONS, phased_ttt_num_phases=2, phased_ttt_prefix_docs=4)
    documents = of_lengths(3, 9, 1, 7, 5, 2)
    assert lengths_of(parts_between_phases(documents, options)) == [[9, 7], [5, 3], [2, 1]]
    assert lengths_of(parts_between_phases(documents[:3], options)) == [[9], [3, 1]]
    assert lengths_of(parts_between_phases(documents, OPTIONS)) == [[9, 7, 5, 3, 2, 1]]
