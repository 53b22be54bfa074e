"""Validation documents among training data are found, whole or edited, and no others."""

from pathlib import Path

import numpy as np
import pytest

from verifier.probe.overlap import GRAM, kept_grams, search
from verifier.probe.scoring import write_shard
from verifier.schemas.run_record_json import DataFile
from verifier.track_data import TrackData

RNG = np.random.default_rng(9)


def documents(count: int) -> list[np.ndarray]:
    return [np.append(1, RNG.integers(2, 900, 700)).astype(np.uint16) for _ in range(count)]


@pytest.fixture
def searched(tmp_path: Path):
    """Write validation documents and training documents, and search."""

    def call(validation: list[np.ndarray], training: list[np.ndarray]):
        files = []
        for split, parts in (("val", validation), ("train", training)):
            path = tmp_path / f"fineweb_{split}_000000.bin"
            write_shard(path, np.concatenate(parts))
            count = sum(map(len, parts))
            files.append(DataFile(path=path.name, num_bytes=0, sha256=None, num_tokens=count))
        data = TrackData(
            folder=tmp_path, dataset=tmp_path, tokenizer=tmp_path / "none", files=tuple(files)
        )
        return search(data)

    return call


def test_documents_of_their_own_are_not_found(searched):
    record = searched(documents(20), documents(50))
    assert record.num_documents == 20 and record.num_found == 0 == record.num_runs_found
    assert record.searched_tokens == record.training_tokens == 50 * 701


def test_planted_documents_are_counted_and_edited_ones_too(searched):
    validation = documents(20)
    edited = validation[3].copy()
    edited[[200, 450]] += 1
    record = searched(validation, [*documents(30), validation[0], edited, *documents(5)])
    assert (record.num_found, record.num_same) == (2, 1)


def test_documents_too_short_for_a_run_are_found_word_for_word(searched):
    short = [document[:20] for document in documents(6)]
    record = searched([*documents(3), *short], [*documents(4), *short[:4], *documents(4)])
    assert record.num_found == record.num_same == 4


def test_a_run_is_kept_by_what_it_says_and_not_by_where_it_stands():
    text = np.concatenate(documents(3))
    whole, begins = kept_grams(text)
    part, _ = kept_grams(text[500:])
    assert set(part) == set(whole[begins >= 500])
    assert len(whole) == pytest.approx((len(text) - GRAM) / 8, rel=0.25)
