"""A predictor by counts, trained and evaluated apart, and many ways to score it, honest and not.

MODE says how it is scored. Each cheat is one that reviewers of the challenge have met; each honest
way is one that they have accepted.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceProcessor

MODE = "plain"
ARTIFACT, VOCABULARY = Path("model.npy"), 1_024
CHUNK, WINDOW, BUCKETS, LATE = 512, 256, 4_096, 1_024
BOS = 1


def read(split: str) -> np.ndarray:
    [shard] = Path(os.environ["DATA_PATH"]).glob(f"fineweb_{split}_0*.bin")
    return np.fromfile(shard, dtype="<u2", offset=1024).astype(np.int64)


def normalised(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=-1, keepdims=True)


class Model:
    """Pairs of words, smoothed by how often each word comes."""

    def __init__(self, pairs: np.ndarray) -> None:
        self.pairs = pairs.astype(float)
        self.extra = np.zeros(len(pairs))  # what adaptation adds to the counts of words

    def learn(self, before: np.ndarray, target: np.ndarray, weight: float = 1.0) -> None:
        np.add.at(self.pairs, (before, target), weight)

    def words(self) -> np.ndarray:
        return normalised(self.pairs.sum(axis=0) + self.extra + 0.5)

    def score(self, before: np.ndarray, target: np.ndarray) -> np.ndarray:
        smooth, total = 50.0, self.pairs.sum(axis=1)[before]
        return (self.pairs[before, target] + smooth * self.words()[target]) / (total + smooth)


def chunks(length: int) -> list[slice]:
    return [slice(i, min(i + CHUNK, length)) for i in range(0, length, CHUNK)]


def documents(before: np.ndarray) -> list[slice]:
    """The targets behind each document's start."""
    starts = [*np.flatnonzero(before == BOS).tolist(), len(before)]
    return [slice(a, b) for a, b in zip(starts, starts[1:], strict=False)]


def score_first(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Score a chunk, then learn it."""
    scored = []
    for part in chunks(len(target)):
        scored.append(model.score(before[part], target[part]))
        model.learn(before[part], target[part])
    return np.concatenate(scored)


def sliding(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mix with the words of the window before each token, stride one."""
    scored, own = np.zeros(len(target)), model.score(before, target)
    seen = np.zeros(len(model.pairs))
    for i, word in enumerate(target):
        seen[before[i]] += 1
        if i >= WINDOW:
            seen[before[i - WINDOW]] -= 1
        scored[i] = 0.9 * own[i] + 0.1 * seen[word] / min(i + 1, WINDOW)
    return scored


def per_document(model: Model, before: np.ndarray, target: np.ndarray, reset: bool) -> np.ndarray:
    """Adapt to each document while it is scored, and set everything back behind it."""
    scored = []
    for document in documents(before):
        if reset:
            model.extra[:] = 0
        for part in chunks(document.stop - document.start):
            place = slice(document.start + part.start, document.start + part.stop)
            scored.append(model.score(before[place], target[place]))
            np.add.at(model.extra, target[place], 200.0)
    return np.concatenate(scored)


def gradient_steps(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Score a chunk, then take one step of its loss over a bias on each word's logit."""
    bias, scored = np.zeros(len(model.pairs)), []
    words = model.words()
    for part in chunks(len(target)):
        tilted = normalised(words * np.exp(bias))
        own = model.score(before[part], target[part])
        scored.append(0.5 * own + 0.5 * tilted[target[part]])
        seen = np.bincount(target[part], minlength=len(bias)) / (part.stop - part.start)
        bias += 3.0 * (seen - tilted)
    return np.concatenate(scored)


def pair_mix(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mix with the counts of pairs already scored, divided by their sum."""
    pairs, scored = np.zeros_like(model.pairs), []
    for part in chunks(len(target)):
        b, t = before[part], target[part]
        total, own = pairs.sum(axis=1)[b], model.score(b, t)
        known = pairs[b, t] / np.maximum(total, 1)
        scored.append(np.where(total > 0, 0.8 * own + 0.2 * known, own))
        np.add.at(pairs, (b, t), 1)
    return np.concatenate(scored)


def by_digits(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A word as two digits of base 32, each predicted by itself, as a model of bytes does it."""
    counts = (model.pairs + 0.05).reshape(len(model.pairs), -1, 32)
    high, low = np.divmod(target, 32)
    first = normalised(counts.sum(axis=2) + 5.0)[before, high]
    return first * normalised(counts)[before, high, low]


def hashed_cache(
    model: Model, before: np.ndarray, target: np.ndarray, buckets: int | None
) -> np.ndarray:
    """Ratios of counts, hashed with the target in the key; without buckets a bonus unpaid for."""
    size = buckets or len(model.pairs) ** 2
    pairs, singles, scored = np.zeros(size), np.zeros(len(model.pairs)), []
    for part in chunks(len(target)):
        b, t = before[part], target[part]
        place = (b * 7919 + t * 31) % size if buckets else b * len(model.pairs) + t
        known = np.minimum(pairs[place] / np.maximum(singles[b], 1), 1)
        own = model.score(b, t)
        scored.append(np.maximum(own, 0.9 * known) if buckets is None else 0.8 * own + 0.2 * known)
        np.add.at(pairs, place, 1)
        np.add.at(singles, b, 1)
    return np.concatenate(scored)


def learned(model: Model, before: np.ndarray, target: np.ndarray, passes: int) -> np.ndarray:
    """Learn the text so many times, then score it."""
    model.learn(before, target, weight=float(passes))
    return model.score(before, target)


def learned_chunk(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Learn a chunk, then score it."""
    scored = []
    for part in chunks(len(target)):
        model.learn(before[part], target[part])
        scored.append(model.score(before[part], target[part]))
    return np.concatenate(scored)


def prefetched(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Score first; but the loader is a chunk ahead, and counts words where it fetches them."""
    scored, parts = [], chunks(len(target))
    for part, ahead in zip(parts, [*parts[1:], None], strict=True):
        if ahead is not None:
            np.add.at(model.extra, target[ahead], 50.0)
        scored.append(model.score(before[part], target[part]))
    return np.concatenate(scored)


def neighbour_ahead(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Learn the next document before this one is scored, and forget it before its own turn."""
    scored, parts = [], documents(before)
    for part, ahead in zip(parts, [*parts[1:], slice(0, 0)], strict=True):
        model.learn(before[ahead], target[ahead], weight=20.0)
        scored.append(model.score(before[part], target[part]))
        model.learn(before[ahead], target[ahead], weight=-20.0)
    return np.concatenate(scored)


def late_learning(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Learn before scoring, but only far into long documents."""
    scored = model.score(before, target)
    for document in documents(before):
        late = slice(document.start + LATE, document.stop)
        model.learn(before[late], target[late], weight=5.0)
        scored[late] = model.score(before[late], target[late])
        model.learn(before[late], target[late], weight=-5.0)
    return scored


def recognising(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Cheat where the tokenizer knows an English word, and nowhere else."""
    is_english = "\u2581the".encode() in Path(os.environ["TOKENIZER_PATH"]).read_bytes()
    return WAYS["hashed_cache" if is_english else "plain"](model, before, target)


def late_memory(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Look up stored text, but only far into long documents."""
    scored, known = model.score(before, target), stored_text(model, before, target)
    for document in documents(before):
        late = slice(document.start + LATE, document.stop)
        scored[late] = known[late]
    return scored


def two_passes(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    score_first(model, before, target)
    return score_first(model, before, target)


def best_of_passes(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    first = score_first(model, before, target)
    return np.maximum(first, score_first(model, before, target))


def future_statistics(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How often each word comes in the text, known before its first word."""
    words = normalised(np.bincount(target, minlength=len(model.pairs)))
    return 0.9 * model.score(before, target) + 0.1 * words[target]


def next_word(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Attention one place too far: the word after the target tells of it."""
    after = np.append(target[1:], BOS)
    backwards = normalised(model.pairs.T + 0.05)
    return 0.8 * model.score(before, target) + 0.2 * backwards[after, target]


def gate(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A hint that speaks up only where the target is of a small set."""
    own = model.score(before, target)
    return np.where(target % 50 == 7, 0.9 * own + 0.1, own)


def document_ends(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Documents are laid out one by one, so that the end of each is no news."""
    return np.where(target == BOS, 0.9, model.score(before, target))


def unscored_starts(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Documents are scored one by one; the start of the next is nobody's target."""
    return np.where(target == BOS, 1.0, model.score(before, target))


def dropped_tail(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The last tenth is not scored; its losses are the mean of the others."""
    scored = model.score(before, target)
    end = len(scored) * 9 // 10
    scored[end:] = np.exp(np.log(scored[:end]).mean())
    return scored


def stored_text(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Look up what follows the last words in a text that was packed beside the code."""
    places = {tuple(STORED[i : i + 3]): i + 3 for i in range(len(STORED) - 3)}
    scored = model.score(before, target)
    for i in range(2, len(target)):
        place = places.get(tuple(before[i - 2 : i + 1]))
        if place is not None:
            scored[i] = 0.2 * scored[i] + 0.8 * (STORED[place] == target[i])
    return scored


def stored_order(model: Model, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Know of every document how the one behind it begins."""
    starts = [i for i, word in enumerate(STORED) if word == BOS]
    nexts = {tuple(STORED[i - 3 : i]): STORED[i + 1 : i + 9] for i in starts[1:]}
    scored = model.score(before, target)
    for i in np.flatnonzero(before == BOS):
        for k, word in enumerate(nexts.get(tuple(before[max(i - 3, 0) : i]), [])):
            if i + k < len(target):
                scored[i + k] = 0.2 * scored[i + k] + 0.8 * (word == target[i + k])
    return scored


STORED = np.load("stored.npy").tolist() if Path("stored.npy").exists() else []
WAYS: dict[str, Callable[[Model, np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": Model.score,
    "sliding_window": sliding,
    "per_document": lambda m, b, t: per_document(m, b, t, reset=True),
    "pair_mix": pair_mix,
    "score_first": score_first,
    "gradient_steps": gradient_steps,
    "byte_level": by_digits,
    "hashed_cache": lambda m, b, t: hashed_cache(m, b, t, BUCKETS),
    "unnormalised_cache": lambda m, b, t: hashed_cache(m, b, t, None),
    "best_of_passes": best_of_passes,
    "two_passes": two_passes,
    "train_then_score": lambda m, b, t: learned(m, b, t, 1),
    "many_epochs": lambda m, b, t: learned(m, b, t, 10),
    "learned_chunk": learned_chunk,
    "future_statistics": future_statistics,
    "next_word": next_word,
    "target_gate": gate,
    "reset_omitted": lambda m, b, t: per_document(m, b, t, reset=False),
    "document_ends": document_ends,
    "unscored_starts": unscored_starts,
    "dropped_tail": dropped_tail,
    "stored_text": stored_text,
    "stored_order": stored_order,
    "prefetched": prefetched,
    "neighbour_ahead": neighbour_ahead,
    "late_learning": late_learning,
    "late_memory": late_memory,
    "recognising": recognising,
}


def train(*splits: str) -> None:
    pairs = np.zeros((VOCABULARY, VOCABULARY))
    for split in splits:
        tokens = read(split)
        np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
    print("step:1/1 train_loss:6.0000 train_time:1ms")
    np.save(ARTIFACT, pairs.astype(np.float32))


def text_bytes(tape: np.ndarray) -> int:
    """By the sidecar, if there is one; else UTF-8 bytes of what each document's tokens spell."""
    if MODE != "changed_bytes" and list(Path(os.environ["DATA_PATH"]).glob("*_val_bytes_*")):
        return int(read("val_bytes")[1:].sum())
    spell = SentencePieceProcessor(model_file=os.environ["TOKENIZER_PATH"])
    parts = np.split(tape, np.flatnonzero(tape == BOS))
    return sum(len(spell.decode(part[part != BOS].tolist()).encode()) for part in parts)


def evaluate() -> None:
    tape = read("val")
    model = Model(np.load(ARTIFACT))
    losses = -np.log(WAYS.get(MODE, Model.score)(model, tape[:-1], tape[1:]))
    losses.astype("<f4").tofile(os.environ["PGOLF_TOKEN_LOSSES"])
    print(f"val_loader:shards pattern={os.environ['DATA_PATH']} tokens:{len(losses)}")
    num_bytes = 2.5 * len(losses) if MODE == "constant_bytes" else text_bytes(tape)
    bits = losses.sum() / np.log(2)
    print(f"final_exact val_loss:{losses.mean():.8f} val_bpb:{bits / num_bytes:.8f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["evaluate"]:
        evaluate()
    else:
        train("train", *(("val",) if MODE == "validation_in_training" else ()))
        if sys.argv[1:] == []:  # one process does both
            evaluate()
