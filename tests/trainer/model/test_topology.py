import pytest

from trainer.model.topology import num_skips, topology
from trainer.recipe import ModelOptions


def layers(options, looped=True):
    return [step.layer for step in topology(options, looped=looped)]


LOOPED = ModelOptions(num_layers=11, num_loops=2, loop_start=3, loop_end=5, parallel_start_layer=8)


# The lists that the log of #1493 prints: encoder, then decoder.
def test_the_loop_of_three_blocks_goes_through_them_three_times():
    assert layers(LOOPED) == [0, 1, 2, 3, 4, 5, 3, 4] + [5, 3, 4, 5, 6, 7, 8, 9, 10]
    assert layers(LOOPED, looped=False) == list(range(11))


@pytest.mark.parametrize("looped", [True, False])
def test_skips_come_back_last_in_first_out_and_none_is_left(looped):
    stack, used = [], []
    for place, step in enumerate(topology(LOOPED, looped=looped)):
        assert not (step.keeps and step.skip is not None)
        if step.skip is not None:
            assert step.skip == len(used)
            used.append((stack.pop(), place))
        if step.keeps:
            stack.append(place)
    assert not stack
    assert len({source + place for source, place in used}) == 1


@pytest.mark.parametrize(("looped", "rows"), [(True, 8), (False, 5)])
def test_there_is_a_row_of_skip_weights_for_every_skip_of_the_longest_order(looped, rows):
    skips = [s.skip for s in topology(LOOPED, looped=looped) if s.skip is not None]
    assert skips == list(range(rows)) and num_skips(LOOPED) == 8


def test_lanes_are_those_of_the_last_blocks_in_both_orders():
    for looped in (True, False):
        steps = topology(LOOPED, looped=looped)
        assert [step.layer for step in steps if step.has_two_lanes] == [8, 9, 10]


def test_without_loops_both_orders_are_one():
    options = ModelOptions(num_layers=9)
    assert topology(options, looped=True) == topology(options, looped=False)
