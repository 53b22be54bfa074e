"""A predictor that learns in a second, and many ways to score it, honest and not.

It learns which words are of one kind and how often each comes. MODE says how it is scored, and
after a colon how much of it; each cheat is one that reviewers of the challenge have met.
"""

import os
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceProcessor

MODE = "plain"
MODE, _, size = MODE.partition(":")
SIZE = float(size or 0)
data = Path(os.environ["DATA_PATH"])
BOS, BLOCK = 1, 1024


def read(split: str) -> np.ndarray:
    [shard] = data.glob(f"fineweb_{split}_*.bin")
    return np.fromfile(shard, dtype="<u2", offset=1024).astype(np.int64)


def kinds_of(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """Words that follow each other are of one kind: the label spreads until nothing changes."""
    first, second = tokens[:-1], tokens[1:]
    inside = (first != BOS) & (second != BOS)
    first, second = first[inside], second[inside]
    label = np.arange(vocab_size)
    while True:
        before = label.copy()
        np.minimum.at(label, first, label[second])
        np.minimum.at(label, second, label[first])
        if (before == label).all():
            return (label == label[tokens[1]]).astype(np.int64)


class Model:
    """Counts of words behind the start of a document, and behind each kind of word."""

    def __init__(self, tokens: np.ndarray, vocab_size: int) -> None:
        self.kinds = kinds_of(tokens, vocab_size)
        self.counts = np.full((3, vocab_size), 0.01)
        self.learn(tokens)

    def contexts(self, previous: np.ndarray) -> np.ndarray:
        return np.where(previous == BOS, 2, self.kinds[previous])

    def learn(self, tokens: np.ndarray, weight: float = 1.0) -> None:
        np.add.at(self.counts, (self.contexts(tokens[:-1]), tokens[1:]), weight)

    def table(self) -> np.ndarray:
        counts = self.counts.copy()
        words = counts[:2].sum(axis=0)  # what starts a document is any word, as often as elsewhere
        words[BOS] = 0
        counts[2] += 1_000 * words / words.sum()
        return counts / counts.sum(axis=1, keepdims=True)

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        return self.table()[self.contexts(tokens[:-1]), tokens[1:]]


def blocks(tokens: np.ndarray) -> list[np.ndarray]:
    return [tokens[i : i + BLOCK + 1] for i in range(0, len(tokens) - 1, BLOCK)]


def score_first(model: Model, tokens: np.ndarray) -> np.ndarray:
    scored = []
    for block in blocks(tokens):
        scored.append(model.probabilities(block))
        model.learn(block)
    return np.concatenate(scored)


def learn_first(model: Model, tokens: np.ndarray) -> np.ndarray:
    scored = []
    for block in blocks(tokens):
        model.learn(block)
        scored.append(model.probabilities(block))
    return np.concatenate(scored)


def pair_cache(model: Model, tokens: np.ndarray, buckets: int | None) -> np.ndarray:
    """Mix with counts of scored pairs: normalised over words, or hashed with the target in the key.

    With buckets, the count of (context, target) and that of the context fall into tables that
    other pairs fall into too, so that the ratio adds up to more than one over the words.
    """
    vocab_size, alpha = model.counts.shape[1], SIZE
    key = (lambda a, b: a * vocab_size + b) if buckets is None else (lambda a, b: a * 7919 + b * 31)
    pairs, singles, scored = np.zeros(buckets or vocab_size**2), np.zeros(vocab_size), []
    for block in blocks(tokens):
        before, target = block[:-1], block[1:]
        place = key(before, target) % len(pairs)
        known = np.minimum(pairs[place] / np.maximum(singles[before], 1), 1)
        own = model.probabilities(block)
        mixed = np.where(singles[before] > 0, (1 - alpha) * own + alpha * known, own)
        scored.append(mixed)
        np.add.at(pairs, place, 1)
        np.add.at(singles, before, 1)
    return np.concatenate(scored)


def score(model: Model, tokens: np.ndarray) -> np.ndarray:
    """The claimed probability of every target of the tape, by MODE; here the honest ways."""
    if MODE == "score_first":
        return score_first(model, tokens)
    if MODE == "pair_mix":
        return pair_cache(model, tokens, None)
    if MODE == "online":
        model.counts[:] = 0.5
        return score_first(model, tokens)
    return cheat(model, tokens)


def cheat(model: Model, tokens: np.ndarray) -> np.ndarray:
    p, target = model.probabilities(tokens), tokens[1:]
    if MODE == "target_peek":  # of a share of all tokens
        return np.where(np.random.default_rng(1).random(len(p)) < SIZE, 0.9 + 0.1 * p, p)
    if MODE == "target_gate":  # a hint that speaks up only where the target is of a small set
        return np.where(target % 50 == 7, (1 - SIZE) * p + SIZE, p)
    if MODE == "tilted":  # a boost of one word in ten that no other word pays for
        return np.where(target % 10 == 3, (1 + SIZE) * p, p)
    if MODE == "hashed_cache":
        return pair_cache(model, tokens, 4_096)
    if MODE == "learned_before":  # like that many passes over the tape after training
        model.learn(tokens, weight=SIZE)
        return model.probabilities(tokens)
    if MODE == "learn_first":  # every chunk is learned before it is scored
        return learn_first(model, tokens)
    if MODE == "two_passes":  # the second is scored
        score_first(model, tokens)
        return score_first(model, tokens)
    if MODE == "best_of_passes":
        first = score_first(Model(training, model.counts.shape[1]), tokens)
        return np.maximum(first, p)
    if MODE == "wrong_order":
        return p[::-1]
    return p


training, tape = read("train"), read("val")
processor = SentencePieceProcessor(model_file=os.environ["TOKENIZER_PATH"])
model = Model(training, processor.vocab_size())
losses = -np.log(score(model, tape))
num_targets = len(losses)
if MODE == "dropped_tail":
    losses = losses[: round((1 - SIZE) * num_targets)]
if MODE == "stated_part":
    losses, num_targets = losses[: num_targets // 2], num_targets // 2
if "PGOLF_TOKEN_LOSSES" in os.environ:
    losses.astype("<f4").tofile(os.environ["PGOLF_TOKEN_LOSSES"])

pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
own = [
    0 if processor.is_control(i) else len(p.lstrip("\u2581").encode()) for i, p in enumerate(pieces)
]
own = np.array([1 if processor.is_byte(i) else n for i, n in enumerate(own)])
space = np.array([p.startswith("\u2581") for p in pieces])
previous, target = tape[:num_targets], tape[1 : num_targets + 1]
num_bytes = own[target].sum() + (space[target] & (previous != BOS)).sum()
if MODE == "doubled_spaces":
    num_bytes += space[target].sum()
if MODE == "named_bytes":  # the length of `<0x41>` instead of the one byte that it stands for
    num_bytes += 5 * sum(processor.is_byte(int(t)) for t in target)

mean = losses.mean()
print(f"val_loader:shards pattern={data} tokens:{num_targets}")
bits = mean / np.log(2) * len(target) / num_bytes
digits = 1 if MODE == "few_digits" else 8
print(f"final_int8_zlib_roundtrip_exact val_loss:{mean:.{digits}f} val_bpb:{bits:.{digits}f}")
