import numpy as np
import pytest

from trainer.quantization.entropy_coding import encode_symbols
from trainer.quantization.matrix_coding import (
    LEVELS_PER_OCTAVE,
    CodedMatrices,
    CodeSizes,
    code_sizes,
    decode_matrices,
    encode_matrices,
)


def drawn(rows, columns, seed=0):
    """Codes that are larger in some rows and columns than in others."""
    random = np.random.default_rng(seed)
    sizes = 2.0 ** random.uniform(-3, 3, rows)[:, None] * 2.0 ** random.uniform(-1, 1, columns)
    codes = np.rint(sizes * random.normal(size=(rows, columns)))
    return codes.clip(-127, 127).astype(np.int8)


def test_matrices_of_any_shape_come_back():
    matrices = [drawn(3, 500), drawn(200, 1), drawn(64, 64), np.zeros((5, 7), dtype=np.int8)]
    coded = encode_matrices(matrices)
    read = decode_matrices([matrix.shape for matrix in matrices], coded)
    assert all(np.array_equal(a, b) for a, b in zip(matrices, read, strict=True))
    assert decode_matrices([], encode_matrices([])) == []


def test_knowing_how_large_rows_and_columns_are_saves_bits():
    matrix = drawn(300, 300)
    alike = encode_symbols(matrix.ravel(), np.zeros(matrix.size, dtype=np.uint16))
    assert len(encode_matrices([matrix]).words) < 0.85 * len(alike.words)


def test_rows_that_lean_one_way_cost_what_they_differ_by():
    random = np.random.default_rng(0)
    apart = np.rint(random.normal(size=(600, 400))).astype(np.int8)
    alike = apart + np.rint(20 * random.normal(size=400)).astype(np.int8)
    words = [len(encode_matrices([matrix]).words) for matrix in (apart, alike)]
    assert words[1] == pytest.approx(words[0], rel=0.01)


def test_shapes_with_grids_of_their_own_have_frequencies_of_their_own():
    random = np.random.default_rng(0)
    two_valued = random.choice(np.array([-5, 5], dtype=np.int8), (300, 200))
    gaussian = np.rint(5 * random.normal(size=(200, 300))).astype(np.int8)
    apart = [len(encode_matrices([matrix]).words) for matrix in (two_valued, gaussian)]
    assert len(encode_matrices([two_valued, gaussian]).words) < 1.01 * sum(apart)


@pytest.mark.parametrize("extreme", [-128, 127])
def test_codes_at_the_ends_of_their_type_come_back(extreme):
    matrix = np.full((40, 50), extreme, dtype=np.int8)
    matrix[::3] = -extreme - 1
    assert np.array_equal(decode_matrices([matrix.shape], encode_matrices([matrix]))[0], matrix)


def test_levels_add_up_to_how_large_a_code_is():
    sizes = code_sizes(np.full((4, 6), 8, dtype=np.int8))
    assert set(sizes.rows) == {3 * LEVELS_PER_OCTAVE} and set(sizes.columns) == {0}
    assert np.unique(sizes.classes()).tolist() == [7 * LEVELS_PER_OCTAVE]
    ends = np.array([-99, 99], dtype=np.int8)
    extreme = CodeSizes(rows=ends, columns=ends).classes()
    assert extreme.min() == 0 and extreme.dtype == np.uint16


def test_other_shapes_are_refused():
    coded = encode_matrices([drawn(30, 40)])
    for shapes in ([(40, 30)], [(30, 41)], [(300, 400)]):
        with pytest.raises(ValueError):
            decode_matrices(shapes, coded)
    with pytest.raises(ValueError):
        decode_matrices([(30, 40)], CodedMatrices(side=coded.side[:20], words=coded.words))
