"""Eight bits for the few columns of which the outputs hear most (AWQ-lite, #1945).

Fine columns are rounded with all others, so that errors are made up for across both; they stand in
the artifact as `<name>:columns:<first>`, and the matrix itself has zeros in their place.
"""

from collections.abc import Mapping

from torch import Tensor

from trainer.quantization.gptq import Grid
from trainer.quantization.rounding import max_code
from trainer.recipe import QuantizationOptions

FINE_BITS = 8
COLUMNS = ":columns:"


def finest_columns(
    matrices: Mapping[str, Tensor],  # name → (R, C), of fewer bits than fine columns have
    hessians: Mapping[str, Tensor],  # name → (C, C)
    options: QuantizationOptions,
) -> dict[str, list[slice]]:
    """The groups of neighbouring columns, of all matrices, that are heard most.

    What is heard of a column is its input's root mean square times its weights' mean size.
    """
    size = options.awq_lite_group_size
    heard: dict[tuple[str, int], float] = {}
    for name, matrix in matrices.items():
        if name in hessians and matrix.size(1) % size == 0:
            columns = hessians[name].diagonal().sqrt() * matrix.float().abs().mean(dim=0)
            sums = columns.view(-1, size).sum(dim=1).tolist()
            heard |= {(name, size * index): total for index, total in enumerate(sums)}
    chosen: dict[str, list[slice]] = {}
    for name, first in sorted(heard, key=lambda place: -heard[place])[
        : options.awq_lite_group_top_k
    ]:
        chosen.setdefault(name, []).append(slice(first, first + size))
    return chosen


def with_fine_columns(
    grid: Grid,
    fine_step: Tensor,  # (R,) fp16
    num_columns: int,
    fine: list[slice],
) -> Grid:
    """The grid with steps and codes of eight bits in some columns."""
    steps = grid.steps.repeat(1, num_columns)
    largest = grid.largest.repeat(num_columns)
    for columns in fine:
        steps[:, columns] = fine_step.float()[:, None]
        largest[columns] = max_code(FINE_BITS)
    return Grid(steps=steps, largest=largest)


def put_columns_back(state: dict[str, Tensor]) -> None:
    """Take the restored fine columns out of a state and put them in their matrices."""
    for part in [name for name in state if COLUMNS in name]:
        name, _, first = part.partition(COLUMNS)
        columns = state.pop(part)
        state[name][:, int(first) : int(first) + columns.size(1)] = columns
