"""What a streamed token costs a submission of our trainer: seconds a step, and a whole sample.

    python benchmarks/stream_cost.py pr1855 --steps 2300 --set evaluation.ttt_warm_start_a=false \
        --set evaluation.phased_ttt_num_phases=0

Weights are those that a run begins with, and tokens are drawn: what a step costs does not hang on
them. All lanes go on to the end, which a real round's do not. Let there be more steps than a window
has tokens: what is read anew for each chunk grows up to there. The last line is what the record
tracks' sample of 131,072 tokens takes, in rounds as long as the longest piece (4,096), with
documents of 900 tokens on average behind that cut.
"""

import argparse
import time

import numpy as np
import torch

from trainer.evaluation.scoring import evaluation_windows
from trainer.evaluation.stream import StreamedRound, round_maker, unstreamed
from trainer.phases.prepare import build_model, set_up_device
from trainer.process_group import ProcessGroup
from trainer.recipe import Recipe
from trainer.recipe_file import load_recipe

SAMPLE_TOKENS, PIECE_TOKENS, DOCUMENT_TOKENS = 131_072, 4_096, 900


def step(streamed: StreamedRound, lanes: torch.Tensor, tokens: torch.Tensor) -> None:
    """A distribution for each lane, then its token."""
    streamed.predict().float().cpu()
    streamed.show(lanes, tokens)


def seconds_a_step(recipe: Recipe, device: torch.device, num_steps: int) -> tuple[float, int]:
    """Mean over the steps behind the first, learning between chunks included; and the lanes."""
    group = ProcessGroup(rank=0, world_size=1, device=device)
    model = build_model(recipe, group).eval()
    model.use_positions(evaluation_windows(recipe).seq_len)
    num_lanes = recipe.evaluation.ttt_batch_size
    streamed = round_maker(model, recipe)([np.ones(1, dtype=np.int64)] * num_lanes)
    rng, lanes = np.random.default_rng(0), torch.arange(num_lanes)
    drawn = rng.integers(4, recipe.model.vocab_size, (num_steps + 1, num_lanes))
    for number, tokens in enumerate(torch.from_numpy(drawn)):
        if number == 1:  # the first step compiles, or fills caches
            started = time.perf_counter()
        step(streamed, lanes, tokens)
    return (time.perf_counter() - started) / num_steps, num_lanes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=2300)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    words = parser.parse_args()
    changes = {name: ("--set", value) for name, _, value in (s.partition("=") for s in words.set)}
    recipe = load_recipe(words.recipe, changes).recipe
    if not recipe.evaluation.ttt_enabled:
        parser.error(f"{words.recipe} learns nothing in evaluation: benchmarks/stream_speed.py")
    if why := unstreamed(recipe):
        parser.error(f"{words.recipe} offers no stream: set {why}")
    set_up_device(recipe.device)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seconds, num_lanes = seconds_a_step(recipe, device, words.steps)
    rounds = SAMPLE_TOKENS / DOCUMENT_TOKENS / num_lanes
    print(f"{words.recipe}: {num_lanes} lanes, {1000 * seconds:.1f} ms a step on {device.type}")
    print(f"a sample of {SAMPLE_TOKENS:,} tokens: {rounds * PIECE_TOKENS * seconds:,.0f} s")


if __name__ == "__main__":
    main()
