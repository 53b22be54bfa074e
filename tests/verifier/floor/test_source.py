"""The source's probabilities are those of what it draws."""

from collections import Counter

import numpy as np
import pytest

from verifier.floor.source import HARD_SHARE, Alphabet, Source

BOS = 1
WORDS = np.arange(2, 10)


def make(kind: str, words: np.ndarray = WORDS, document_tokens: int = 4) -> Source:
    rng = np.random.default_rng(0)
    return Source(kind, Alphabet(bos=BOS, words=words), document_tokens, rng)


@pytest.mark.parametrize("kind", ["zipf", "markov"])
def test_tapes_come_as_often_as_their_probability_says(kind):
    source, num_draws = make(kind, words=WORDS[:4]), 4_000
    drawn = [source.draw_tape(8) for _ in range(num_draws)]
    counts = Counter(tuple(tape.tokens) for tape in drawn)
    probability = {tuple(tape.tokens): np.exp(-tape.floor_nats) for tape in drawn}
    assert 0.8 < sum(probability.values()) < 1 + 1e-9
    for tokens, count in counts.most_common(10):
        spread = np.sqrt(num_draws * probability[tokens])
        assert abs(count - num_draws * probability[tokens]) < 5 * spread


@pytest.mark.parametrize("kind", ["zipf", "markov"])
def test_a_tape_is_as_long_as_asked_and_its_tail_is_harder(kind):
    tape = make(kind, words=np.arange(2, 102), document_tokens=50).draw_tape(4_000)
    head = int(4_000 * (1 - HARD_SHARE))
    assert len(tape.tokens) == tape.num_targets + 1 == 4_001
    assert tape.surprisal[head:].mean() > tape.surprisal[:head].mean() + 0.3


def test_easy_and_hard_documents_share_no_word_and_none_is_empty():
    tape = make("markov").draw_tape(2_000)
    easy, hard = set(tape.tokens[:1_501]) - {BOS}, set(tape.tokens[1_501:]) - {BOS}
    assert not easy & hard and easy | hard == set(WORDS)
    starts = tape.tokens[:1_501] == BOS
    assert tape.tokens[1_501] == BOS and not (starts[1:] & starts[:-1]).any()


def test_the_next_word_hangs_on_the_last_in_a_markov_world_alone():
    def dependence(kind: str) -> float:
        tokens = make(kind, document_tokens=100).draw_training(20_000).astype(int)
        pairs = np.zeros((10, 10))
        np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
        easy = [w for w in WORDS if pairs[w].argmax() in WORDS]
        return len({int(pairs[w].argmax()) for w in easy})

    assert dependence("markov") > dependence("zipf") == 2


def test_training_data_hold_both_kinds_of_document_in_turn():
    tokens = make("zipf", document_tokens=20).draw_training(5_000)
    tape = make("zipf", document_tokens=20).draw_tape(4_000)
    hard = np.isin(tokens, np.unique(tape.tokens[3_500:])) & (tokens != BOS)
    assert len(tokens) == 5_000 and 0.1 < hard.mean() < 0.4
    assert (np.diff(hard.astype(int)) != 0).sum() > 20
