"""The stages of a run: what a forward pass is like, and when.

Sequences may be short at first, which is cheap, and grow later (#2014); blocks may be looped from
some moment on (#1394). A step has equally many tokens in every stage. A compiler makes a graph for
each, so that a run's stages must all be known, and gone through, before its clock starts.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

from trainer.optimizer.schedules import share_done
from trainer.recipe import LengthPhase, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What a forward pass is like."""

    seq_len: int  # tokens of a sequence; the most of a document, where those are packed
    has_loops: bool


def stage_at(recipe: Recipe, step: int, elapsed_seconds: float, budget_seconds: float) -> Stage:
    """The stage of a step, after so many steps and so much time of the budget."""
    schedule = recipe.schedule
    done = share_done(schedule, step, elapsed_seconds, budget_seconds)
    grown = step / schedule.iterations if schedule.train_seq_schedule_mode == "step" else done
    return Stage(
        seq_len=seq_len_at(recipe.length_phases, grown), has_loops=has_loops_at(recipe, done)
    )


def seq_len_at(phases: tuple[LengthPhase, ...], done: float) -> int:
    """The length of sequences when so much of the run is done: a phase's end still belongs to it.

    The last phase goes on to the end of the run, as in #2014.
    """
    return next((phase.seq_len for phase in phases if done <= phase.end), phases[-1].seq_len)


def has_loops_at(recipe: Recipe, done: float) -> bool:
    """Whether blocks are looped when so much of the run is done."""
    return recipe.model.num_loops > 0 and done >= recipe.schedule.enable_looping_at


def stages(recipe: Recipe) -> list[Stage]:
    """All stages that a run may go through, in their order."""
    schedule, phases = recipe.schedule, recipe.length_phases
    changes = sorted({0.0, schedule.enable_looping_at, *(phase.end for phase in phases)})
    moments = [moment for change in changes for moment in (change, math.nextafter(change, 2.0))]
    pairs = list(zip(moments, moments, strict=True))
    if schedule.train_seq_schedule_mode == "step" and schedule.max_wallclock_seconds > 0:
        pairs = list(product(moments, moments))  # steps or clock, either may be ahead
    found = (
        Stage(seq_len=seq_len_at(phases, grown), has_loops=has_loops_at(recipe, done))
        for grown, done in pairs
    )
    return list(dict.fromkeys(found))


class LengthGrowth:
    """The step at which sequences last grew; learning rates rise anew from there (#2014)."""

    def __init__(self, seq_len: int, warmup_steps: int) -> None:
        self.seq_len = seq_len
        self.warmup_steps = warmup_steps
        self.grew_at = -warmup_steps  # long ago

    def follow(self, step: int, seq_len: int) -> bool:
        """Take note of the length of a step's sequences; returns whether it is a new one."""
        if seq_len == self.seq_len:
            return False
        self.seq_len, self.grew_at = seq_len, step
        return True

    def learning_rate_scale(self, step: int) -> float:
        """The factor on every learning rate: a straight line to 1 in the first steps."""
        return min((step - self.grew_at + 1) / max(self.warmup_steps, 1), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seq_len": self.seq_len, "grew_at": self.grew_at}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from what a checkpoint kept."""
        self.seq_len, self.grew_at = state_dict["seq_len"], state_dict["grew_at"]


def length_growth(recipe: Recipe) -> LengthGrowth | None:
    """What follows the recipe's lengths, if it names several."""
    if recipe.schedule.train_seq_schedule == "":
        return None
    warmup_steps = recipe.schedule.seq_change_warmup_steps
    return LengthGrowth(recipe.length_phases[0].seq_len, warmup_steps)
