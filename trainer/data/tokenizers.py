"""Tokenizers: trained the way the challenge's are, reused, or only read."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from trainer.data.byte_lengths import PURE_BYTE_OFFSET, load_sentencepiece, pure_byte_table
from trainer.data.case_operators import OPERATORS
from trainer.errors import DataError
from trainer.recipe import BOS_ID

MAX_VOCAB_SIZE = 65536  # token ids are stored as uint16

# The options of the published tokenizers (parameter-golf, data/download_hf_docs_and_tokenize.py).
TRAINING_OPTIONS: dict[str, Any] = {
    "model_type": "bpe",
    "character_coverage": 0.999,
    "byte_fallback": True,
    "split_digits": True,
    "normalization_rule_name": "nmt_nfkc",
    "add_dummy_prefix": False,
    "hard_vocab_limit": False,
    "pad_id": 0,
    "bos_id": BOS_ID,
    "eos_id": 2,
    "unk_id": 3,
}


def training_options(*, case_ops: bool) -> dict[str, Any]:
    """The options, with the case operators as tokens of their own where the texts have them."""
    return TRAINING_OPTIONS | ({"user_defined_symbols": ",".join(OPERATORS)} if case_ops else {})


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, case_ops: bool = False) -> bytes:
    """Train a BPE model; same texts, same bytes.

    Args:
        texts: training documents; each line of a document is one training sentence, because
            SentencePiece leaves out sentences above 4,192 bytes.
        vocab_size: number of tokens, control and byte tokens included.
        case_ops: the texts have case operators.

    Returns:
        The serialised model.

    Raises:
        DataError: the text does not support a vocabulary of this size.
    """
    if vocab_size > MAX_VOCAB_SIZE:
        raise DataError(f"--vocab-size {vocab_size}: shards hold at most {MAX_VOCAB_SIZE} tokens")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=training_sentences(texts),
            model_writer=model,
            vocab_size=vocab_size,
            minloglevel=2,
            **training_options(case_ops=case_ops),
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"--vocab-size {vocab_size}: SentencePiece refuses: {reason}") from None
    trained_size = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size()
    if trained_size != vocab_size:
        raise DataError(
            f"--vocab-size {vocab_size}: too large for this text, which supports {trained_size}; "
            f"use --vocab-size {trained_size} or more text"
        )
    return model.getvalue()


def training_sentences(texts: Iterable[str]) -> Iterator[str]:
    """The non-empty lines of all texts, without NUL, which SentencePiece cannot take."""
    for text in texts:
        for line in text.replace("\0", " ").splitlines():
            if sentence := line.strip():
                yield sentence


def check_reused_tokenizer(path: Path, vocab_size: int | None) -> int:
    """The vocabulary size of an existing model that can write shards.

    Raises:
        DataError: no model, another begin-of-document id than the published one, or a
            vocabulary that is too large or not the one asked for.
    """
    model = load_sentencepiece(path)
    size = int(model.vocab_size())
    if model.bos_id() != BOS_ID:
        raise DataError(f"{path}: its BOS id is {model.bos_id()}; shards need {BOS_ID}")
    if size > MAX_VOCAB_SIZE:
        raise DataError(f"{path}: {size} tokens; shards hold at most {MAX_VOCAB_SIZE}")
    if vocab_size not in (None, size):
        raise DataError(f"{path}: has {size} tokens, not the {vocab_size} of --vocab-size")
    return size


def check_case_operators(path: Path) -> None:
    """See to it that a model to be reused knows the case operators.

    Raises:
        DataError: it has no token for one.
    """
    model = load_sentencepiece(path)
    missing = [c for c in OPERATORS if model.piece_to_id(c) == model.unk_id()]
    if missing:
        raise DataError(
            f"{path}: has no token for case operator U+{ord(missing[0]):04X}; leave out --case-ops "
            "or --tokenizer"
        )


def vocabulary_listing(model_path: Path) -> str:
    """The `.vocab` file of a model: one `piece<TAB>score` a line."""
    model = load_sentencepiece(model_path)
    return "".join(
        f"{model.id_to_piece(token)}\t{model.get_score(token):g}\n"
        for token in range(model.vocab_size())
    )


def tokenizer_vocab_size(path: Path) -> int:
    """The vocabulary size of a SentencePiece model or of the published pure-byte tokenizer.

    Raises:
        DataError: the file is neither.
    """
    if path.suffix == ".json":
        return int(pure_byte_table(path).base_bytes.size)
    return int(load_sentencepiece(path).vocab_size())


def decode_tokens(path: Path, tokens: np.ndarray) -> str:
    """The text of (n,) token ids; control tokens are left out."""
    if path.suffix == ".json":
        values = tokens[tokens >= PURE_BYTE_OFFSET] - PURE_BYTE_OFFSET
        return values.astype(np.uint8).tobytes().decode("utf-8", "replace")
    return str(load_sentencepiece(path).decode(tokens.tolist()))
