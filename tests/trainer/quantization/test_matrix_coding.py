import numpy as np
import pytest

from trainer.quantization.entropy_coding import encode_symbols
from trainer.quantization.matrix_coding import (
    LEVELS_PER_OCTAVE,
    CodedMatrices,
    classes_of,
    code_levels,
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


def test_levels_add_up_to_how_large_a_code_is():
    rows, columns = code_levels(np.full((4, 6), 8, dtype=np.int8))
    assert set(rows) == {3 * LEVELS_PER_OCTAVE} and set(columns) == {0}
    assert np.unique(classes_of(rows, columns)).tolist() == [7 * LEVELS_PER_OCTAVE]
    extreme = classes_of(np.array([-99, 99]), np.array([-99, 99]))
    assert extreme.min() == 0 and extreme.dtype == np.uint16


def test_other_shapes_are_refused():
    coded = encode_matrices([drawn(30, 40)])
    for shapes in ([(40, 30)], [(30, 41)], [(300, 400)]):
        with pytest.raises(ValueError):
            decode_matrices(shapes, coded)
    with pytest.raises(ValueError):
        decode_matrices([(30, 40)], CodedMatrices(side=coded.side[:20], words=coded.words))
