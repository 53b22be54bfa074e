"""#1855's training and ours from the same weights, over the same batches, step by step.

    python benchmarks/paired_training.py ours --data BOTH --work W
    python benchmarks/paired_training.py public --data BOTH --work W --script train_gpt.py
    python benchmarks/paired_training.py table --work W

BOTH is made by `side_by_side.py prepare`. Two trainings that begin with other weights end so far
apart that a fault of a few thousandths of a bit is not seen; begun with the same, they part by
rounding alone. The public script's own `train_model` runs, unchanged, in this process: its model is
given our initial weights (the recipe and `--seed` say which), and what it ends with, averaged, is
put into our model and scored by our function, as ours is.

On a GPU each side computes as it always does. On a CPU both compute in fp32, uncompiled, with the
public kernels off and attention by PyTorch: `--set model.model_dim=128 --set
batch.train_batch_tokens=4096 --set batch.train_seq_len=512` makes 40 steps of it two minutes.
"""

import argparse
import contextlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from learnt_scores import BANKS, RENAMED, copy_weights
from side_by_side import Side, StampedLog, public_environment, say_score, side_of
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.model.transformer import GPT  # noqa: E402
from trainer.phases.prepare import PreparedRun, prepare_run  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.training_loop import train  # noqa: E402

LOSS = re.compile(r"(?:step:)?(\d+)/\d+ train_loss: ?(\S+)")
SCORE = re.compile(r"^ *[\d.]+ averaged .*val_bpb:(\S+)", re.MULTILINE)


def train_ours(run: PreparedRun) -> None:
    """As `pgolf-train` does; leaves the averaged weights in the run's model."""
    train(begin_training(run), lambda _: None)


def train_public(run: PreparedRun, side: Side, script: Path) -> None:
    """With the script's own functions; leaves what it averaged in the run's model."""
    is_cuda = run.group.device.type == "cuda"
    told = {"TTT_ENABLED": "0", "FUSED_CE_ENABLED": str(int(is_cuda))}
    os.environ.update(public_environment(side, script) | told)
    sys.modules["flash_attn_interface"] = attention_by_pytorch()
    public = loaded(script)
    settings = public["Hyperparameters"]()
    public["set_logging_hparams"](settings)
    public.update(log=lambda line, **_: print(line), eval_val=lambda *_: (0.0, 0.0))
    public["GPT"] = with_weights_of(run.model, public["GPT"], run.group.device)
    with contextlib.nullcontext() if is_cuda else computing_on_a_cpu():
        theirs, *_ = public["train_model"](settings, run.group.device, None)
    take_weights(run.model, theirs)


def loaded(script: Path) -> dict[str, Any]:
    """The script's names; it is trusted, as whoever times it trusts it."""
    found: Any = importlib.util.spec_from_file_location("public_script", script)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return vars(module)


def with_weights_of(ours: GPT, build: Any, device: torch.device) -> Any:  # noqa: ANN401
    """The script's model, made by its own class, then given our weights."""

    def built(settings: Any) -> torch.nn.Module:  # noqa: ANN401
        theirs: torch.nn.Module = build(settings).to(device)
        copy_weights(ours, theirs)
        if device.type == "cpu":  # a kernel without another way
            for module in theirs.modules():
                if hasattr(module, "use_fused"):
                    module.use_fused = False
        return theirs

    return built


def take_weights(ours: GPT, theirs: torch.nn.Module) -> None:
    """The way back of `copy_weights`."""
    own, layers = dict(ours.named_parameters()), range(len(ours.blocks))
    for name, parameter in theirs.named_parameters():
        weights = parameter.detach().float()
        if name in BANKS:
            names = [f"blocks.{i}.{part}.weight" for part in BANKS[name] for i in layers]
            for matrix, weight in zip(names, weights, strict=True):
                own[matrix].data.copy_(weight)
        else:
            parameter_of_ours = own[RENAMED.get(name, name)]
            parameter_of_ours.data.copy_(weights.view(parameter_of_ours.shape))


def attention_by_pytorch() -> ModuleType:
    """FlashAttention-3's module, its two functions done by PyTorch."""

    def whole(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        return heads.transpose(1, 2)

    def packed(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:  # noqa: ANN401
        ends, longest = options["cu_seqlens_q"], options["max_seqlen_q"]
        if q.is_cuda:
            attend = torch.ops.aten._flash_attention_forward
            heads: Tensor = attend(q, k, v, ends, ends, longest, longest, 0.0, True, False)[0]
            return heads
        cuts = ends.unique()  # padded with its last
        documents = zip(*(each.split(cuts.diff().tolist()) for each in (q, k, v)), strict=True)
        return torch.cat([whole(*(each[None] for each in d), causal=True)[0] for d in documents])

    module = ModuleType("flash_attn_interface")
    vars(module).update(flash_attn_func=whole, flash_attn_varlen_func=packed)
    return module


@contextlib.contextmanager
def computing_on_a_cpu() -> Iterator[None]:
    """What #1855 asks of a GPU by name in training, answered without one; in fp32."""
    empty, stream = torch.empty, SimpleNamespace(wait_stream=lambda _: None)
    stand_ins: list[tuple[Any, str, Any]] = [
        (torch, "compile", lambda function, **_: function),
        (torch, "autocast", lambda **_: contextlib.nullcontext()),
        (torch, "empty", lambda *sizes, pin_memory=False, **options: empty(*sizes, **options)),
        (torch.Tensor, "pin_memory", lambda self: self),
        (torch.nn.Module, "bfloat16", lambda self: self),
        (torch.cuda, "synchronize", lambda: None),
        (torch.cuda, "Stream", lambda: stream),
        (torch.cuda, "current_stream", lambda: stream),
        (torch.cuda, "stream", lambda _: contextlib.nullcontext()),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in stand_ins]
    try:
        for owner, name, stand_in in stand_ins:
            setattr(owner, name, stand_in)
        yield
    finally:
        for owner, name, original in kept:
            setattr(owner, name, original)


def run_side(side: Side, script: Path | None) -> None:
    """Train, then score the averaged weights; its lines go to W/SIDE_SEED_train.log."""
    log = side.log
    os.chdir(side.folder)
    sys.stdout = StampedLog(log)
    run = prepare_run(side.recipe, Path(__file__).resolve())
    if script is None:
        train_ours(run)
    else:
        train_public(run, side, script)
    run.model.use_loops(wanted=True)
    say_score(run, "averaged")


def print_table(work: Path) -> None:
    """Losses of both sides at each step that both print, and the scores."""
    logs = {log.name: log.read_text() for log in sorted(work.glob("*_train.log"))}
    losses = {name: dict(LOSS.findall(text)) for name, text in logs.items()}
    print("step " + " ".join(f"{name.removesuffix('_train.log'):>14}" for name in logs))
    for step in sorted(set.intersection(*(set(told) for told in losses.values())), key=int):
        print(f"{step:>4} " + " ".join(f"{float(told[step]):14.4f}" for told in losses.values()))
    scores = (SCORE.search(text) for text in logs.values())
    print("BPB  " + " ".join(f"{score[1] if score else '':>14}" for score in scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("public", "ours", "table"))
    parser.add_argument("--data", type=Path, help="folder of side_by_side.py prepare")
    parser.add_argument("--work", type=Path, required=True, help="folder of all logs")
    parser.add_argument("--script", type=Path, help="the public train_gpt.py")
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    if arguments.side == "table":
        print_table(arguments.work)
        return
    arguments.part = "train"
    script = arguments.script.resolve() if arguments.side == "public" else None
    run_side(side_of(arguments), script)


if __name__ == "__main__":
    main()
