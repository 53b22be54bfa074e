"""A world on disk is what its record says, and nobody can foresee it."""

import numpy as np
import pytest

from verifier.floor.world import WorldSize, draw_world, write_world
from verifier.rulebook import load_rulebook
from verifier.track_data import HEADER_BYTES, locate_data

SIZE = WorldSize(
    source="markov", vocab_size=300, document_tokens=50, training_tokens=3_000, num_targets=960
)


@pytest.fixture
def dataset():
    return load_rulebook("10min_16mb").track.dataset


def test_the_files_are_found_and_counted_as_a_tracks_data(tmp_path, dataset):
    world = draw_world(SIZE)
    write_world(world, tmp_path)
    data = locate_data(dataset, tmp_path)
    assert (data.dataset.name, data.scored_tokens) == ("fineweb10B_sp300", 960)
    shard = (data.dataset / "fineweb_val_000000.bin").read_bytes()[HEADER_BYTES:]
    assert np.array_equal(np.frombuffer(shard, "<u2"), world.tape.tokens)


def test_a_sidecar_tells_each_validation_tokens_bytes(tmp_path):
    world = draw_world(SIZE)
    write_world(world, tmp_path, with_sidecar=True)
    [sidecar] = tmp_path.glob("datasets/*/fineweb_val_bytes_000000.bin")
    sizes = np.fromfile(sidecar, "<u2", offset=HEADER_BYTES)
    assert len(sizes) == len(world.tape.tokens) and sizes.sum() == world.record.num_bytes


def test_two_worlds_differ_and_a_known_secret_gives_the_same_again():
    first, second = draw_world(SIZE), draw_world(SIZE)
    again = draw_world(SIZE, first.record.secret)
    assert first.record.secret != second.record.secret
    assert not np.array_equal(first.tape.tokens, second.tape.tokens)
    assert again.record == first.record and np.array_equal(again.training, first.training)


def test_the_record_holds_the_tapes_own_figures():
    world = draw_world(SIZE)
    assert world.record.floor_nats == pytest.approx(world.tape.surprisal.sum())
    assert 0 < world.record.num_bytes < 6 * SIZE.num_targets
