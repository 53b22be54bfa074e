"""The data of a run: where they lie, and whether they fit its recipe."""

from dataclasses import dataclass
from pathlib import Path

from trainer.data.byte_lengths import load_byte_table
from trainer.data.data_folder import find_datasets
from trainer.data.token_shards import (
    has_case_operators,
    read_shard,
    shard_num_tokens,
    shard_paths,
)
from trainer.errors import DataError
from trainer.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class DataLocation:
    """The data of a run."""

    dataset: Path  # folder with the shards
    tokenizer: Path


def locate_data(folder: Path | None, recipe: Recipe) -> DataLocation:
    """The data set and tokenizer in a data folder; without one, where the recipe says.

    Raises:
        DataError: there is none, or more than one and none that the recipe names.
    """
    if folder is None:
        return DataLocation(
            dataset=Path(recipe.run.data_path), tokenizer=Path(recipe.run.tokenizer_path)
        )
    found = find_datasets(folder)
    named = [one for one in found if one.name == Path(recipe.run.data_path).name]
    chosen = found if len(found) == 1 else named
    if len(chosen) != 1:
        names = ", ".join(one.name for one in found)
        raise DataError(
            f"{folder}: holds several data sets ({names}); say which one with "
            "--set run.data_path=NAME"
        )
    tokenizer = chosen[0].tokenizer
    if tokenizer is None:
        raise DataError(f"{folder}: no tokenizer for {chosen[0].name} in {folder / 'tokenizers'}")
    return DataLocation(dataset=chosen[0].folder, tokenizer=tokenizer)


def check_data(data: DataLocation, recipe: Recipe) -> None:
    """See to it that data and recipe fit, before a process is started.

    Of the validation shards only the headers are read.

    Raises:
        DataError: they do not.
    """
    if not data.dataset.is_dir():
        raise DataError(
            f"{data.dataset}: no such data; say with --data DIR where yours are, or make some with "
            "`pgolf-train data build` or `pgolf-train data get`"
        )
    check_vocabulary(data, recipe.model.vocab_size)
    check_operators(data, recipe)
    check_token_counts(data, recipe)


def check_vocabulary(data: DataLocation, vocab_size: int) -> None:
    """See to it that tokenizer and shards have a recipe's number of tokens.

    Raises:
        DataError: they have others.
    """
    load_byte_table(data.tokenizer, vocab_size)
    train_paths = shard_paths(data.dataset, "train")
    largest = int(read_shard(train_paths[0]).max())
    if largest >= vocab_size:
        raise DataError(
            f"{train_paths[0]}: token id {largest}, but vocab_size is {vocab_size}; "
            "use the shards that belong to the tokenizer"
        )


def check_operators(data: DataLocation, recipe: Recipe) -> None:
    """See to it that a recipe reads capital letters as the data write them.

    Raises:
        DataError: it does not.
    """
    if has_case_operators(data.dataset) != recipe.evaluation.caseops_enabled:
        wanted = not recipe.evaluation.caseops_enabled
        raise DataError(
            f"{data.dataset}: tokens have {'' if wanted else 'no '}case operators; set "
            f"evaluation.caseops_enabled to {str(wanted).lower()}"
        )


def check_token_counts(data: DataLocation, recipe: Recipe) -> None:
    """See to it that a step's batch and a window can be filled.

    Raises:
        DataError: there are too few tokens.
    """
    needed = {"train": recipe.batch.train_batch_tokens, "val": recipe.batch.train_seq_len}
    for split, num_needed in needed.items():
        num_tokens = sum(map(shard_num_tokens, shard_paths(data.dataset, split)))
        if num_tokens <= num_needed:
            raise DataError(
                f"{data.dataset}: {num_tokens} {split} tokens, but this recipe needs more than "
                f"{num_needed}; add data, or lower train_batch_tokens or train_seq_len"
            )
