"""Claims about a tape are read in the script's favour, and what is no claim about it is told."""

from dataclasses import replace

import numpy as np
import pytest

from verifier.claims.log_lines import read_final
from verifier.floor.assessment import Allowance, Claimed, assess
from verifier.floor.tokenizer_model import BOS
from verifier.floor.world import WorldSize, draw_world
from verifier.schemas.floor_record_json import FloorRecord
from verifier.units import bits_per_byte

SIZE = WorldSize(
    source="zipf", vocab_size=300, document_tokens=100, training_tokens=1_000, num_targets=15_360
)
WORLD = draw_world(SIZE)
SURPRISAL = WORLD.tape.surprisal
ALLOWANCE = Allowance(tolerance_nats=0.0, known_counts=(62_021_632,))


def printed(mean: float, decimals: int = 8, num_tokens: int = SIZE.num_targets):
    bpb = bits_per_byte(mean, num_tokens, WORLD.record.num_bytes)
    return read_final(f"final val_loss:{mean:.{decimals}f} val_bpb:{bpb:.{decimals}f}", 1)


def claim(losses: np.ndarray, decimals: int = 8) -> Claimed:
    final = printed(float(losses.mean()), decimals, len(losses))
    return Claimed(final=final, stated_tokens=None, losses=losses.astype("<f4"), has_read_tape=True)


def test_the_true_source_stands_at_odds_of_one():
    record = assess(WORLD, claim(SURPRISAL), ALLOWANCE)
    assert abs(record.total_odds_nats) < 1e-3 and record.betting_odds_nats < 0.1
    assert record.implied_bytes_low <= WORLD.record.num_bytes <= record.implied_bytes_high


def test_printed_digits_are_read_by_the_end_that_favours_the_script():
    for decimals in (2, 4):
        record = assess(WORLD, claim(SURPRISAL - 0.001, decimals), ALLOWANCE)
        assert record.total_odds_nats <= 0.001 * SIZE.num_targets
    assert assess(WORLD, claim(SURPRISAL - 0.001, 2), ALLOWANCE).total_odds_nats < 0


def test_tolerated_arithmetic_is_granted_to_total_and_bets():
    allowance = replace(ALLOWANCE, tolerance_nats=0.01)
    record = assess(WORLD, claim(SURPRISAL - 0.005), allowance)
    assert record.total_odds_nats < 0 and record.betting_odds_nats < 1


def test_starts_of_documents_may_be_left_unscored():
    words = SURPRISAL[WORLD.tape.tokens[1:] != BOS]
    final = printed(float(words.mean()), num_tokens=len(words))
    record = assess(WORLD, replace(claim(SURPRISAL), final=final, losses=None), ALLOWANCE)
    assert abs(record.total_odds_nats) < 1e-3
    assert final.val_loss * SIZE.num_targets < WORLD.record.floor_nats - 20


def test_a_rest_shorter_than_a_sequence_may_be_left_out_if_that_is_said():
    final = printed(float(SURPRISAL[:-500].mean()), num_tokens=SIZE.num_targets - 500)
    claimed = replace(claim(SURPRISAL), final=final, losses=None)
    assert assess(WORLD, claimed, ALLOWANCE).total_odds_nats > 100
    claimed = replace(claimed, stated_tokens=SIZE.num_targets - 500)
    assert assess(WORLD, claimed, ALLOWANCE).total_odds_nats < 30
    claimed = replace(claimed, stated_tokens=SIZE.num_targets + 1)  # tokens, not targets
    assert assess(WORLD, claimed, ALLOWANCE).not_evaluated is None


def test_losses_in_another_order_are_not_bet_on():
    shuffled = np.roll(SURPRISAL, 1_000)
    record = assess(WORLD, claim(shuffled), ALLOWANCE)
    assert record.betting_odds_nats is None and "do not follow the tape" in record.no_betting
    assert abs(record.total_odds_nats) < 1


def test_losses_that_are_no_numbers_or_too_few_are_not_bet_on():
    for losses, message in (
        (np.full(SIZE.num_targets, np.nan), "no number"),
        (SURPRISAL[:100], "100 losses were written for 15,360 tokens"),
    ):
        claimed = replace(claim(SURPRISAL), losses=losses.astype("<f4"))
        assert message in assess(WORLD, claimed, ALLOWANCE).no_betting


@pytest.mark.parametrize("figures", ["val_loss:1e308 val_bpb:1", "val_loss:-5 val_bpb:1e-9"])
def test_absurd_figures_leave_a_record_that_can_be_written(figures):
    claimed = replace(claim(SURPRISAL), final=read_final(f"final {figures}", 1))
    record = assess(WORLD, claimed, ALLOWANCE)
    assert FloorRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"final": None}, "printed no validation loss"),
        ({"has_read_tape": False}, "never opened the validation shard"),
        ({"stated_tokens": 62_021_632}, "reads other data, or its count is built in"),
        ({"final": printed(float(SURPRISAL.sum()) / 62_021_632)}, "divided by 62,021,632"),
    ],
)
def test_what_is_no_claim_about_the_tape_is_told(change, reason):
    record = assess(WORLD, replace(claim(SURPRISAL), **change), ALLOWANCE)
    assert reason in record.not_evaluated and record.odds_nats is None
