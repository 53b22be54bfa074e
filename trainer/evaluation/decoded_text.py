"""The length of the validation text as it decodes, beside the bytes that the convention counts."""

from pathlib import Path

import numpy as np

from trainer.data.byte_lengths import load_sentencepiece
from trainer.data.case_operators import original_bytes
from trainer.data.token_shards import has_case_operators, read_shard, shard_paths
from trainer.data.tokenizers import decode_tokens
from trainer.recipe import BOS_ID

DOCUMENTS_AT_ONCE = 1000


def decoded_bytes(dataset: Path, tokenizer: Path, num_tokens: int) -> int:
    """UTF-8 bytes of the text of the first validation tokens, the very first one (BOS) apart.

    Documents are decoded one by one, as they were encoded.

    Args:
        dataset: the folder with the shards.
        tokenizer: the one that wrote them.
        num_tokens: how many are scored.

    Raises:
        DataError: shards or tokenizer are missing or damaged.
    """
    shards = [read_shard(path) for path in shard_paths(dataset, "val")]
    tokens = np.concatenate(shards)[1 : num_tokens + 1]
    if tokenizer.suffix == ".json":  # a token is a byte
        return len(decode_tokens(tokenizer, tokens).encode())
    pieces = load_sentencepiece(tokenizer)
    text_bytes = original_size if has_case_operators(dataset) else utf8_size
    starts = np.flatnonzero(tokens == BOS_ID)
    total = 0
    for index in range(0, starts.size + 1, DOCUMENTS_AT_ONCE):
        first = 0 if index == 0 else starts[index - 1]
        cuts = starts[index : index + DOCUMENTS_AT_ONCE - 1]
        end_index = index + DOCUMENTS_AT_ONCE - 1
        end = starts[end_index] if end_index < starts.size else tokens.size
        documents = [part.tolist() for part in np.split(tokens[first:end], cuts - first)]
        total += sum(map(text_bytes, pieces.decode(documents)))
    return total


def utf8_size(text: str) -> int:
    """Bytes of a text."""
    return len(text.encode())


def original_size(text: str) -> int:
    """Bytes of what a text with case operators stands for."""
    return sum(original_bytes([text]))
