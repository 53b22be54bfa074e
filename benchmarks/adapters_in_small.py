"""Which adapters and rates of test-time training suit a recipe, in small, on the same weights.

    python benchmarks/adapters_in_small.py --data DOCS8192 --seeds 42,314 --out adapters.jsonl

Trains `best`, made narrow and short alone as in `best_in_small.py`, once a seed, and then scores
the averaged weights while they learn, each form of `FORMS` from the same weights, so that what
forms differ by is not what trainings differ by. One JSON line a seed and form; at the end each
form less the recipe's own, over seeds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from best_in_small import RATES, small_recipe  # noqa: E402

from trainer.evaluation.scoring import evaluation_windows, training_windows  # noqa: E402
from trainer.phases.prepare import prepare_run  # noqa: E402
from trainer.phases.score import score_model  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.training_loop import train  # noqa: E402

OWN = "best"
QUERIES = {"ttt_q_lora": True}
VALUES = {"ttt_v_lora": True}
FASTER = {"ttt_lora_lr": RATES * 0.0001}  # the rate of PR 1855 in place of 0.00008
SHORTER = {"ttt_eval_seq_len": 128, "global_ttt_chunk_tokens": 4 * 128}  # its windows
FORMS: dict[str, dict[str, object]] = {
    OWN: {},
    "queries": QUERIES,
    "values": VALUES,
    "queries and values": QUERIES | VALUES,
    "faster": FASTER,
    "shorter windows": SHORTER,
    "as pr1855": QUERIES | VALUES | FASTER | SHORTER | {"ttt_warm_start_limit": 0},
    "thrice as fast": {"ttt_lora_lr": 3 * RATES * 0.00008},
    "thrice as fast, queries and values": {"ttt_lora_lr": 3 * RATES * 0.00008} | QUERIES | VALUES,
}


def scores_of(name: str, arguments: argparse.Namespace, seed: int) -> dict[str, float]:
    """Bits per byte of one training: as averaged, and while it learns in each form."""
    recipe = small_recipe(name, arguments, seed)
    run = prepare_run(recipe, Path(__file__))
    train(begin_training(run), lambda progress: None)
    weights = {key: tensor.clone() for key, tensor in run.model.state_dict().items()}
    scores = {"averaged": score_model(run, training_windows(recipe))[0].bits_per_byte}
    for form, changes in FORMS.items():
        run.model.load_state_dict(weights)  # a pause of global SGD moves them
        changed = replace(recipe, evaluation=replace(recipe.evaluation, **changes))
        learning = score_model(
            replace(run, recipe=changed), evaluation_windows(changed), learns=True
        )
        scores[form] = learning[0].bits_per_byte
        print(seed, form, f"{scores[form]:.5f}", flush=True)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--recipe", default=OWN)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", default="42,314")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, added to")
    arguments = parser.parse_args()
    arguments.data, out = arguments.data.resolve(), arguments.out.resolve()
    os.chdir(tempfile.mkdtemp())  # for the runs' own logs
    records = []
    for seed in map(int, arguments.seeds.split(",")):
        records.append(scores_of(arguments.recipe, arguments, seed))
        with out.open("a") as file:
            file.write(json.dumps({"seed": seed, "steps": arguments.steps} | records[-1]) + "\n")
    for form in FORMS:
        gaps = [record[form] - record[OWN] for record in records]
        gained = statistics.fmean(record[form] - record["averaged"] for record in records)
        spread = f"{min(gaps):+.4f} to {max(gaps):+.4f}"
        print(f"{form}: {gained:+.4f} BPB over not learning; less {OWN} {spread}")


if __name__ == "__main__":
    main()
