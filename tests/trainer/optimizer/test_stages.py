import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.optimizer.stages import (
    LengthGrowth,
    Stage,
    length_growth,
    seq_len_at,
    stage_at,
    stages,
)
from trainer.recipe import BatchOptions, ModelOptions, Recipe, ScheduleOptions

SHARES = st.floats(0.0, 1.0)
# #2014, all of it: three lengths, and loops from 35 % on.
PUBLIC = {"train_seq_schedule": "1024@0.100,2048@0.700,3072@1.000", "enable_looping_at": 0.35}


def recipe_with(**schedule):
    return Recipe(
        batch=BatchOptions(train_seq_len=3072),
        model=ModelOptions(num_loops=2, loop_start=3, loop_end=5),
        schedule=ScheduleOptions(**schedule),
    )


@st.composite
def growing(draw):
    """Schedules of up to four lengths."""
    ends = sorted(draw(st.sets(st.integers(1, 1000), min_size=1, max_size=4)))
    lengths = draw(st.lists(st.sampled_from((64, 128, 3072)), min_size=4, max_size=4))
    return ",".join(f"{tokens}@{end / 1000}" for tokens, end in zip(lengths, ends, strict=False))


# #2014's own function gives these: a phase's end still belongs to it, the last one has none.
@pytest.mark.parametrize(
    ("done", "seq_len"),
    [(0, 1024), (0.1, 1024), (0.100001, 2048), (0.7, 2048), (0.700001, 3072), (1.1, 3072)],
)
def test_lengths_change_where_those_of_the_public_script_do(done, seq_len):
    assert seq_len_at(recipe_with(**PUBLIC).length_phases, done) == seq_len


@given(text=growing(), seconds=st.floats(0, 600), step=st.integers(0, 999))
def test_time_decides_where_there_is_a_limit_and_steps_where_there_is_none(text, seconds, step):
    recipe = recipe_with(train_seq_schedule=text, iterations=1000)
    phases = recipe.length_phases
    limited, unlimited = (stage_at(recipe, step, seconds, end) for end in (600.0, math.inf))
    assert limited.seq_len == seq_len_at(phases, seconds / 600.0)
    assert unlimited.seq_len == seq_len_at(phases, step / 1000)


@given(text=growing(), looping=SHARES, done=SHARES, mode=st.sampled_from(("wallclock", "step")))
def test_no_run_comes_to_a_stage_that_was_not_warmed_up(text, looping, done, mode):
    recipe = recipe_with(
        train_seq_schedule=text,
        train_seq_schedule_mode=mode,
        enable_looping_at=looping,
        iterations=1000,
    )
    known = stages(recipe)
    assert len(set(known)) == len(known)
    for step in (0, 137, 999):
        assert stage_at(recipe, step, 600.0 * done, 600.0) in known


def test_stages_are_those_that_the_public_script_warms_up():
    seen = [(stage.seq_len, stage.has_loops) for stage in stages(recipe_with(**PUBLIC))]
    assert seen == [(1024, False), (2048, False), (2048, True), (3072, True)]


def test_steps_that_run_ahead_of_the_clock_may_meet_any_order_of_blocks():
    recipe = recipe_with(**PUBLIC, train_seq_schedule_mode="step")
    assert len(stages(recipe)) == 6


def test_without_a_schedule_there_is_one_length():
    assert stages(recipe_with()) == [Stage(seq_len=3072, has_loops=True)]
    assert stages(Recipe()) == [Stage(seq_len=1024, has_loops=False)]
    assert length_growth(recipe_with()) is None


def test_loops_begin_at_their_share_of_the_time():
    recipe = recipe_with(enable_looping_at=0.35)
    found = [stage_at(recipe, 100, seconds, 600.0) for seconds in (0.0, 209.0, 210.0, 600.0)]
    assert [stage.has_loops for stage in found] == [False, False, True, True]


# #2014, seed 42: 32 steps from step 646 on, the first of them at 1/32.
def test_learning_rates_rise_anew_when_sequences_grow():
    growth = LengthGrowth(1024, warmup_steps=32)
    assert not growth.follow(0, 1024) and growth.learning_rate_scale(0) == 1.0
    assert growth.follow(646, 2048) and not growth.follow(647, 2048)
    scales = [growth.learning_rate_scale(646 + step) for step in range(40)]
    assert scales[:2] == [1 / 32, 2 / 32] and scales[31:] == [1.0] * 9
    assert all(later >= earlier for earlier, later in pairwise(scales))


def test_without_steps_to_rise_in_the_rate_is_the_schedules():
    growth = LengthGrowth(1024, warmup_steps=0)
    growth.follow(5, 2048)
    assert [growth.learning_rate_scale(step) for step in (5, 6, 7)] == [1.0, 1.0, 1.0]


def test_what_grew_is_remembered_over_a_pause():
    growth, later = LengthGrowth(1024, warmup_steps=8), LengthGrowth(1024, warmup_steps=8)
    growth.follow(100, 2048)
    later.load_state_dict(growth.state_dict())
    assert not later.follow(103, 2048) and later.learning_rate_scale(103) == 0.5
