"""How few tapes answer everything, and what is scored again where something moves."""

import numpy as np
import pytest

from verifier.probe.asking import ask
from verifier.probe.moves import ANSWERED_NATS, STILL_NATS
from verifier.probe.scored import Scored
from verifier.probe.tapes.variants import Sample, draw_changed, plain
from verifier.rulebook import load_rulebook

TEXT = np.random.default_rng(5).integers(2, 60, 8_000).astype(np.uint16)
TEXT[::400] = 1
SAMPLE = Sample(tokens=TEXT, begin=0)
PLANNED = (plain(SAMPLE, "base"), *draw_changed(SAMPLE, np.random.default_rng(7)))
CUTS = sorted(change.cut for tape in PLANNED for change in tape.changes)
LEAKY = PLANNED[1].changes[1]
"""One of several on its tape."""


def carries(tokens: np.ndarray) -> np.ndarray:
    return 1e-5 * np.cumsum(tokens[:-1])


def knows_all(tokens: np.ndarray, nats: float = 1.0) -> np.ndarray:
    """Every loss by the mean of its whole document."""
    document = np.cumsum(tokens[:-1] == 1) - 1
    means = np.bincount(document, tokens[1:]) / np.bincount(document)
    return nats * means[document]


def knows_one(tokens: np.ndarray) -> np.ndarray:
    """The same in a single document."""
    own = SAMPLE.document_of(LEAKY.cut)
    return knows_all(tokens) * ((np.arange(len(tokens) - 1) // 400) == own.start // 400)


class Script:
    """Losses by words and by what a way of cheating knows; keeps which tapes it was given."""

    def __init__(self, *knows, noise_nats: float = 0.0) -> None:
        self.knows, self.noise_nats, self.names = knows, noise_nats, []
        self._rng = np.random.default_rng(1)

    def __call__(self, variant) -> Scored:
        self.names.append(variant.name)
        tokens = variant.tokens.astype(float)
        losses = 1 + tokens[1:] / 60 + sum(known(tokens) for known in self.knows)
        losses += self.noise_nats * self._rng.random(len(losses))
        return Scored(losses=losses.astype(np.float32), detail="exit code 0", wall_seconds=2.0)


def changes(record) -> dict[int, float]:
    return {m.cut: m.in_document_nats for m in record.moves if m.kind in ("flip", "poison")}


def test_documents_apart_are_answered_by_what_was_planned():
    script = Script()
    record = ask(SAMPLE, PLANNED, script, "ab")
    assert script.names == [variant.name for variant in PLANNED]
    assert sorted(changes(record)) == CUTS and not any(changes(record).values())
    assert record.noise_nats is None and record.not_evaluated is None
    assert record.num_evaluations == len(PLANNED) and record.tapes_seconds == 2 * len(PLANNED)


def test_moves_too_small_to_break_a_rule_are_not_asked_about_again():
    script = Script(lambda tokens: knows_all(tokens, nats=1e-5))
    record = ask(SAMPLE, PLANNED, script, "ab")
    assert 0 < max(changes(record).values()) < ANSWERED_NATS
    assert script.names == [variant.name for variant in PLANNED]


def test_a_small_move_among_others_is_looked_at_alone_and_explained_by_no_noise():
    script = Script(lambda tokens: knows_all(tokens, nats=3e-4))
    record = ask(SAMPLE, PLANNED, script, "ab")
    assert ANSWERED_NATS < max(changes(record).values()) < STILL_NATS
    assert len(script.names) > len(PLANNED) and "repeat" not in script.names


def test_what_goes_from_document_to_document_is_scored_change_by_change():
    script = Script(carries)
    record = ask(SAMPLE, PLANNED, script, "ab")
    assert sorted(changes(record)) == CUTS and not any(changes(record).values())
    assert len(script.names) == 1 + 6, "the first change of a shared tape is answered there"
    assert record.noise_nats is None


def test_a_leak_in_one_document_is_found_among_changes_of_others():
    script = Script(knows_one)
    record = ask(SAMPLE, PLANNED, script, "ab")
    assert [cut for cut, nats in changes(record).items() if nats > 0.001] == [LEAKY.cut]
    assert script.names[-2:] == ["repeat", f"{LEAKY.name}_again"] and record.noise_nats == 0
    assert record.num_evaluations == len(script.names)


def test_who_learns_every_document_first_is_found_at_every_change():
    record = ask(SAMPLE, PLANNED, Script(knows_all, carries), "ab")
    assert len(changes(record)) == 6 and min(changes(record).values()) > STILL_NATS


def test_noise_is_told_where_it_moves_what_must_not_move():
    record = ask(SAMPLE, PLANNED, Script(noise_nats=0.02), "ab")
    assert 0.01 < record.noise_nats < 0.05 and len(changes(record)) == 6


@pytest.mark.parametrize("rule", ["future_token_dependence", "carried_state"])
def test_no_rule_is_broken_by_what_is_called_still(rule):
    assert load_rulebook("demo").rules[rule].parameters["min_moved_nats"] >= STILL_NATS
