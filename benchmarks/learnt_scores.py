"""Scored tokens a second of test-time training, ours or a public script's, on one GPU.

    python benchmarks/learnt_scores.py --out ours.json
    python benchmarks/learnt_scores.py --public PATH/TO/train_gpt.py --out public.json
    python benchmarks/learnt_scores.py --compare public.json ours.json

Both score the same documents from the same weights: batches of documents of one length each, then
a pause in which all weights learn, then the first batches again. What is not in the times: making
the model and compiling it for the first time. What is: whatever is compiled anew afterwards, which
`compiled_anew` counts; ours may not, and ends with exit code 1 if it does. The public side is
#1855's script, or one with its parts; it takes every size and setting from the recipe, its
attention from an installed `flash_attn_interface`. Weights are random: times do not depend on them,
and the mean losses of both sides should agree to the precision of bf16.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.evaluation.adapters import Adapters  # noqa: E402
from trainer.evaluation.compiled_passes import forward_pass  # noqa: E402
from trainer.evaluation.document_batches import dealt_batches, find_documents  # noqa: E402
from trainer.evaluation.global_sgd import WeightLearner  # noqa: E402
from trainer.evaluation.order_ledger import OrderLedger  # noqa: E402
from trainer.evaluation.test_time_training import (  # noqa: E402
    Conduct,
    LearningRun,
    passes_over,
    score_part,
)
from trainer.model.transformer import GPT  # noqa: E402
from trainer.phases.prepare import build_model  # noqa: E402
from trainer.process_group import ProcessGroup  # noqa: E402
from trainer.recipe import BOS_ID, Recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402

LENGTHS = (128, 256, 400, 560, 780, 1150, 1800, 2926)
"""Of documents of FineWeb, one of each eighth (those of `dl:` in #1855's logs)."""
BANKS = {  # of #1855: name → the two matrices of a block that it holds
    "qo_bank": ("attn.c_q", "attn.proj"),
    "kv_bank": ("attn.c_k", "attn.c_v"),
    "mlp_up_bank": ("mlp.fc",),
    "mlp_down_bank": ("mlp.proj",),
}
RENAMED = {
    "smear_gate.weight": "smear_gate.gate.weight",
    "smear_lambda": "smear_gate.strength",
    "parallel_post_lambdas": "lanes.parallel_post_lambdas",
    "parallel_resid_lambdas": "lanes.parallel_resid_lambdas",
}
Pass = Callable[[np.ndarray], float]  # tokens → mean loss in nats


def some_documents(length: int, recipe: Recipe) -> np.ndarray:  # (N + 1,) uint16
    """As many documents of a length as a batch has, and the first token of another."""
    options = recipe.evaluation
    random = np.random.default_rng(length)
    size = options.ttt_batch_size * length + 1
    tokens = random.integers(4, recipe.model.vocab_size, size).astype(np.uint16)
    tokens[::length] = BOS_ID
    return tokens


def prepared(recipe: Recipe, group: ProcessGroup) -> GPT:
    """A model with all layers at work."""
    model = build_model(recipe, group).requires_grad_(False).eval()
    random = torch.Generator(group.device).manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 2 and parameter.size(0) > 2:
            parameter.normal_(0, parameter.size(1) ** -0.5, generator=random)
    model.use_positions(recipe.evaluation.ttt_eval_seq_len)
    return model


def our_passes(
    model: GPT, recipe: Recipe, group: ProcessGroup, backend: str | None
) -> tuple[Pass, Pass]:
    """One that scores and learns, and one in which all weights learn."""
    options = recipe.evaluation
    adapters = Adapters(model, options)
    forward = forward_pass(model, adapters, backend)
    learner = WeightLearner(model, options, group)

    def score(tokens: np.ndarray) -> float:
        passes = passes_over(tokens, forward, adapters, Conduct())
        run = LearningRun(passes=passes, ledger=OrderLedger(group, tokens.size - 1))
        score_part(run, dealt_batches(find_documents(tokens), options, 1)[0])
        return float(passes.losses[:-1].mean())

    def pause(tokens: np.ndarray) -> float:
        tape = torch.from_numpy(tokens.astype(np.int32)).to(group.device)
        return float(learner.learn(find_documents(tokens), tape))

    return score, pause


def public_passes(
    model: GPT, recipe: Recipe, group: ProcessGroup, script: Path
) -> tuple[Pass, Pass]:
    """The same with a public script's own functions; not a line of it is changed."""
    options = recipe.evaluation
    os.environ["TTT_LORA_ALPHA"] = str(options.ttt_lora_alpha)  # read when the script is loaded
    os.environ["TTT_WARM_START_A"] = str(int(options.ttt_warm_start_a))
    found: Any = importlib.util.spec_from_file_location("public_script", script)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    public = vars(module)
    settings = public_settings(public["Hyperparameters"](), recipe)
    public["set_logging_hparams"](settings)
    public.update(log=lambda *_, **__: None, BOS_ID=BOS_ID)
    theirs = public["GPT"](settings).to(group.device)
    is_cuda = group.device.type == "cuda"
    if is_cuda:
        public["restore_fp32_params"](theirs.bfloat16())
    theirs.fused_ce_enabled = is_cuda  # kernels without another way
    for block in theirs.blocks:
        block.mlp.use_fused = is_cuda
    copy_weights(model, theirs)
    theirs.looping_active = True
    theirs.requires_grad_(False).eval()
    compiled = torch.compile(
        lambda inputs, targets, lora: theirs.forward_ttt(inputs, targets, lora=lora), dynamic=True
    )
    adapters = public["BatchedTTTLoRA"](options.ttt_batch_size, theirs, options.ttt_lora_rank).to(
        group.device
    )
    for length in (options.ttt_chunk_size, options.ttt_eval_seq_len):  # as the script warms up
        ids = torch.randint(4, 60, (options.ttt_batch_size, length), device=group.device)
        with torch.autocast("cuda", torch.bfloat16):
            losses = compiled(ids, ids.clone(), lora=adapters)
        losses[:, : options.ttt_chunk_size].mean(dim=-1).sum().backward()

    def data(tokens: np.ndarray) -> SimpleNamespace:
        count = torch.ones(recipe.model.vocab_size, dtype=torch.int16, device=group.device)
        return SimpleNamespace(
            val_tokens=torch.from_numpy(tokens.astype(np.int64)),
            caseops_enabled=False,
            val_bytes=None,
            base_bytes_lut=count,
            has_leading_space_lut=count.bool(),
            is_boundary_token_lut=count.bool(),
        )

    def score(tokens: np.ndarray) -> float:
        # It would make a document of the last BOS alone, which has no target.
        tape = np.append(tokens[:-1], tokens[:-1].max()).astype(tokens.dtype)
        nats, _ = public["eval_val_ttt_phased"](
            settings, theirs, group.device, data(tape), forward_ttt_train=compiled
        )
        theirs.requires_grad_(False).eval()
        return float(nats)

    def pause(tokens: np.ndarray) -> float:
        told = torch.from_numpy(tokens.astype(np.int64))
        learn = public["train_val_ttt_global_sgd_distributed"]
        learn(settings, group.device, data(tokens), theirs, told)
        theirs.requires_grad_(False)
        return float((tokens.size - 2) // options.global_ttt_chunk_tokens)

    return score, pause


def public_settings(settings: Any, recipe: Recipe) -> Any:  # noqa: ANN401
    """A public script's settings, with the recipe's values wherever the names are the same."""
    for section in (recipe.model, recipe.evaluation, recipe.batch):
        for name in section.__dataclass_fields__:
            if hasattr(settings, name):
                setattr(settings, name, getattr(section, name))
    settings.eval_seq_len = settings.train_seq_len = recipe.evaluation.ttt_eval_seq_len
    settings.phased_ttt_prefix_docs, settings.run_id = 0, "learnt_scores"
    settings.rank, settings.world_size = 0, 1
    settings.ttt_batch_size = recipe.evaluation.ttt_batch_size
    return settings


def copy_weights(ours: GPT, theirs: torch.nn.Module) -> None:
    """Put our weights into #1855's model, whose matrices stand in banks."""
    state, layers = ours.state_dict(), range(len(ours.blocks))
    for name, parameter in theirs.named_parameters():
        if name in BANKS:
            matrices = [f"blocks.{i}.{part}.weight" for part in BANKS[name] for i in layers]
            parameter.data.copy_(torch.stack([state[matrix] for matrix in matrices]))
        else:
            parameter.data.copy_(state[RENAMED.get(name, name)].view(parameter.shape))


def timed(work: Pass, tokens: np.ndarray, group: ProcessGroup) -> dict[str, float]:
    """What a pass takes, how often something is compiled in it, and what it says."""
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    group.synchronize()
    started = time.perf_counter()
    said = work(tokens)
    group.synchronize()
    seconds = time.perf_counter() - started
    anew = torch._dynamo.utils.counters["stats"]["unique_graphs"] - graphs
    result = {
        "seconds": round(seconds, 4),
        "tokens_per_second": round((tokens.size - 1) / seconds),
        "compiled_anew": anew,
        "said": round(said, 5),
    }
    print(tokens.size - 1, "tokens", result, file=sys.stderr, flush=True)
    return result


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one side."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    group = ProcessGroup(rank=0, world_size=1, device=device)
    pairs = (change.partition("=") for change in arguments.changes)
    changes = {key: ("--set", value) for key, _, value in pairs}
    recipe = load_recipe(arguments.recipe, changes).recipe
    model = prepared(recipe, group)
    started = time.perf_counter()
    if arguments.public:
        score, pause = public_passes(model, recipe, group, arguments.public)
    else:
        score, pause = our_passes(model, recipe, group, arguments.backend or None)
    compiling = time.perf_counter() - started
    print(f"compiled in {compiling:.1f} s", file=sys.stderr, flush=True)
    texts = {length: some_documents(length, recipe) for length in arguments.lengths}
    for tokens in texts.values():  # once for the caches of kernels
        score(tokens)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    batches = {length: timed(score, tokens, group) for length, tokens in texts.items()}
    together = np.concatenate([tokens[:-1] for tokens in texts.values()])
    seconds = sum(batch["seconds"] for batch in batches.values())
    result = {
        "seconds_of_compiling": round(compiling, 1),
        "batches": batches,
        "tokens_per_second": round(together.size / seconds),
        "mean_nats": sum(b["said"] * n for n, b in batches.items()) / sum(batches),
        "pause": timed(pause, np.append(together, together[:1]), group),
        "after_the_pause": {
            n: timed(score, texts[n], group) for n in (arguments.lengths[0], arguments.lengths[-1])
        },
    }
    if device.type == "cuda":
        result["peak_mib"] = torch.cuda.max_memory_allocated() // 1024**2
    return result


def compare(public: dict[str, Any], ours: dict[str, Any]) -> None:
    """Both sides side by side."""
    for length, batch in ours["batches"].items():
        pace = public["batches"][length]["tokens_per_second"], batch["tokens_per_second"]
        print(f"{length:>6} tokens: {pace[0]:>8,} {pace[1]:>8,} a second, {pace[1] / pace[0]:.2f}x")
    pace = public["tokens_per_second"], ours["tokens_per_second"]
    print(f"   all tokens: {pace[0]:>8,} {pace[1]:>8,} a second, {pace[1] / pace[0]:.2f}x")
    for name in ("mean_nats", "peak_mib", "seconds_of_compiling", "pause", "after_the_pause"):
        print(f"{name}: public {public.get(name)}, ours {ours.get(name)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--public", type=Path, help="the public train_gpt.py; without it, ours")
    parser.add_argument("--backend", default="inductor", help="of torch.compile; '': none")
    parser.add_argument(
        "--lengths", type=lambda text: [int(part) for part in text.split(",")], default=LENGTHS
    )
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("PUBLIC", "OURS"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.compare:
        compare(*(json.loads(path.read_text()) for path in arguments.compare))
        return 0
    result = measured(arguments)
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    later = [*result["batches"].values(), *result["after_the_pause"].values()]
    return int(not arguments.public and any(batch["compiled_anew"] for batch in later))


if __name__ == "__main__":
    sys.exit(main())
