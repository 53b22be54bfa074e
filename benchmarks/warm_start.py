"""What warm adapters do to test-time training as documents go by, on a CPU or one GPU.

    python benchmarks/warm_start.py --data data/demo --seeds 42,314,1337 --rates 0.002,0.008,0.032

In #1767 the first factor A of an adapter y = α/K (x Aᵀ) Bᵀ goes on from a document to the next in
its place, while B begins at zero; #1886 tells of two of three seeds that collapsed so. This trains
the recipe once a seed, then scores the same documents from the same weights under each setting:
cold, warm, or warm and held (`ttt_warm_start_limit`), a learning rate, a decay. One JSON line each:

gain_nats: what adapters save a token against none, in four quarters of the documents.
size: mean square of A over that of a fresh one, its root.
reach: Σ_k |x aₖ| over that of a fresh A, on the inputs of the batch that begins: how far a step of
    Adam, which moves every entry of B by about the learning rate, moves an output.
spectral: largest singular value of A over that of a fresh one.

All three are means over adapters where a batch begins: 1 for cold ones. A decay is given as the
logarithm by which it alone would shrink A from the first document to the last: learning rate x
ttt_weight_decay x steps, 0.11 and 0.22 in #1886 with 1.0 and 2.0 (1,100 steps in its longest part).

With --phase, SGD moves all weights half way through, by the documents scored so far, and adapters
begin anew; on GPUs with the fused loss or without, as --set FUSED_CE_ENABLED=0 says. With
--artifact FOLDER its final_model is scored and nothing trained: seeds are those of adapters, and
--iterations still says how much of the training text it has seen.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.data.token_shards import read_shard, shard_paths  # noqa: E402
from trainer.evaluation.adapters import Adapter, AdapterGroup, Adapters  # noqa: E402
from trainer.evaluation.chunk_passes import chunks_of, learn, score  # noqa: E402
from trainer.evaluation.compiled_passes import forward_pass  # noqa: E402
from trainer.evaluation.document_batches import Document, find_documents  # noqa: E402
from trainer.evaluation.global_sgd import WeightLearner  # noqa: E402
from trainer.evaluation.test_time_training import borrowed  # noqa: E402
from trainer.model.deltas import AttentionDeltas, BlockDeltas, Deltas  # noqa: E402
from trainer.model.transformer import GPT  # noqa: E402
from trainer.phases.evaluate import load_artifact  # noqa: E402
from trainer.phases.prepare import PreparedRun, prepare_run  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.recipe import EvaluationOptions  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.training_loop import train, warm_up  # noqa: E402

NUM_QUARTERS = 4
ADAPTERS = {  # those of #1886, small; --set changes them
    "TTT_ENABLED": 1,
    "TTT_K_LORA": 1,
    "TTT_O_LORA": 1,
    "TTT_MLP_LORA": 1,
    "TTT_LORA_RANK": 16,
    "TTT_LORA_ALPHA": 18,
    "TTT_BETA1": 0,
    "TTT_BETA2": 0.999,
    "TTT_CHUNK_SIZE": 16,
    "TTT_EVAL_SEQ_LEN": 128,
    "TTT_BATCH_SIZE": 8,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One setting."""

    start: str  # cold, warm or held
    rate: float
    decay: float  # logarithm of what it leaves of A

    def options(self, common: EvaluationOptions, num_steps: int, limit: float) -> EvaluationOptions:
        """The recipe's options under this setting."""
        return replace(
            common,
            ttt_warm_start_a=self.start != "cold",
            ttt_warm_start_limit=limit if self.start == "held" else 0.0,
            ttt_lora_lr=self.rate,
            ttt_weight_decay=self.decay / (self.rate * num_steps),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """Documents of one length, dealt out to batches."""

    tape: Tensor  # (N + 1,) int32
    batches: list[list[Document]]

    def num_steps(self, options: EvaluationOptions) -> int:
        """Steps of the optimizer from the first document to the last."""
        chunks = -(-self.batches[0][0].num_targets // options.ttt_chunk_size)
        return len(self.batches) * (chunks - 1)

    def beginnings(
        self, batch: list[Document], num_tokens: int
    ) -> tuple[Tensor, Tensor]:  # (B, T) int64 inputs, and targets
        """The first tokens of each document."""
        starts = torch.tensor([document.start for document in batch], device=self.tape.device)
        places = starts[:, None] + torch.arange(num_tokens, device=self.tape.device)
        return self.tape[places].long(), self.tape[places + 1].long()


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """Of all adapters, against fresh ones."""

    size: float
    reach: float
    largest_reach: float  # of any adapter
    spectral: float

    @classmethod
    def of(cls, noted: "list[Reach]") -> "Growth":
        pairs = [(one.adapter.down.detach().float(), one.fresh.float()) for one in noted]
        reaches = [one.ratio for one in noted]
        return cls(
            size=float(np.mean([float(own.norm() / fresh.norm()) for own, fresh in pairs])),
            reach=float(np.mean(reaches)),
            largest_reach=max(reaches),
            spectral=float(
                np.mean(
                    [
                        float((torch.linalg.matrix_norm(own, 2) / fresh_norm).mean())
                        for own, fresh in pairs
                        for fresh_norm in [torch.linalg.matrix_norm(fresh[0], 2)]
                    ]
                )
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A batch of documents."""

    loss_nats: float  # mean of a token
    growth: Growth  # where it began


class Reach:
    """An adapter that notes how far its next step reaches, against a fresh one's."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter, self.fresh, self.ratio = adapter, adapter.down.detach().clone(), 1.0

    def __call__(self, inputs: Tensor) -> Tensor:
        own, fresh = (
            (inputs @ down.detach()[: len(inputs)].transpose(1, 2)).abs().float().mean()
            for down in (self.adapter.down, self.fresh)
        )
        self.ratio = float(own / fresh)
        return self.adapter(inputs)


def with_reach(adapters: Adapters) -> tuple[Deltas, list[Reach]]:
    """The same additions to the model, and what notes their reach in a pass."""
    noted = {id(adapter): Reach(adapter) for adapter in adapters.all}

    def onto_attention(own: AdapterGroup, inputs: Tensor) -> AttentionDeltas:
        return AttentionDeltas(**{n: noted[id(one)](inputs) for n, one in own.adapters.items()})

    blocks = []
    for block in adapters.deltas.blocks:
        attention = block.attention and partial(onto_attention, block.attention.__self__)
        mlp = block.mlp and noted[id(block.mlp)]
        blocks.append(BlockDeltas(attention=attention, mlp=mlp))
    head = adapters.deltas.head
    deltas = Deltas(blocks=blocks, head=None if head is None else noted[id(head)])
    return deltas, list(noted.values())


def score_documents(
    run: PreparedRun, texts: Texts, options: EvaluationOptions, arguments: argparse.Namespace
) -> Iterator[Passage]:
    """Score the batches one after the other; half way through, all weights learn if asked to."""
    model, half = run.model, len(texts.batches) // 2
    adapters = Adapters(model, options)
    deltas, reaches = with_reach(adapters)
    forward = forward_pass(model, adapters, arguments.backend)
    losses = torch.zeros(texts.tape.numel(), device=texts.tape.device)
    for index, batch in enumerate(texts.batches):
        if arguments.phase and index == half:
            documents = list(chain.from_iterable(texts.batches[:half]))
            WeightLearner(model, options, run.group).learn(documents, texts.tape)
            adapters.renew()
        adapters.begin(len(batch))
        inputs, targets = texts.beginnings(batch, options.ttt_chunk_size)
        with torch.no_grad():
            model(inputs, targets, deltas=deltas)
        growth = Growth.of(reaches)
        scored = []
        for chunk in chunks_of(batch, options, texts.tape):
            token_losses = score(forward, chunk, texts.tape, losses)
            scored.append(token_losses.detach())
            if not chunk.is_last:
                learn(adapters, chunk, token_losses)
        yield Passage(loss_nats=float(torch.cat(scored, dim=1).mean()), growth=growth)


def losses_without(model: GPT, texts: Texts, options: EvaluationOptions) -> list[float]:
    """The mean loss of each batch without adapters, in the same windows, in nats."""
    losses = torch.zeros(texts.tape.numel(), device=texts.tape.device)
    means = []
    with torch.no_grad():
        for batch in texts.batches:
            scored = [
                score(model, chunk, texts.tape, losses)
                for chunk in chunks_of(batch, options, texts.tape)
            ]
            means.append(float(torch.cat(scored, dim=1).mean()))
    return means


def figures(passages: list[Passage], without: list[float]) -> dict[str, Any]:
    """What a trial found."""
    gains = [plain - passage.loss_nats for plain, passage in zip(without, passages, strict=True)]
    quarters = np.array_split(np.array(gains), NUM_QUARTERS)
    last = passages[-1].growth
    return {
        "gain_nats": [round(float(quarter.mean()), 4) for quarter in quarters],
        "gain_nats_all": round(float(np.mean(gains)), 4),
        "worst_batch_gain_nats": round(min(gains), 4),
        "size": round(last.size, 3),
        "reach": round(last.reach, 3),
        "largest_reach": round(last.largest_reach, 3),
        "spectral": round(last.spectral, 3),
    }


def try_all(run: PreparedRun, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every setting, on the weights as they are."""
    common = run.recipe.evaluation
    texts = read_texts(run, arguments)
    run.model.use_positions(common.ttt_eval_seq_len)
    run.model.eval()
    without = losses_without(run.model, texts, common)
    yield {"seed": run.recipe.run.seed, "loss_nats_without": round(float(np.mean(without)), 4)}
    for trial in trials(arguments):
        options = trial.options(common, texts.num_steps(common), arguments.limit)
        started = time.perf_counter()
        with borrowed(run.model):
            passages = list(score_documents(run, texts, options, arguments))
        yield {
            "seed": run.recipe.run.seed,
            "fused_loss": run.recipe.model.fused_ce_enabled,
            "phase": arguments.phase,
            **asdict(trial),
            "steps": texts.num_steps(common),
            **figures(passages, without),
            "seconds": round(time.perf_counter() - started, 1),
        }


def trials(arguments: argparse.Namespace) -> list[Trial]:
    """Every combination that the command line asks for."""
    rates, decays = (
        [float(word) for word in words.split(",")] for words in (arguments.rates, arguments.decays)
    )
    starts = arguments.starts.split(",")
    return [
        Trial(start=start, rate=rate, decay=decay)
        for rate, decay, start in product(rates, decays, starts)
    ]


def read_texts(run: PreparedRun, arguments: argparse.Namespace) -> Texts:
    """Beginnings of documents that training has not seen: validation's, then training's last."""
    data, size = run.recipe.run.data_path, run.recipe.evaluation.ttt_batch_size
    seen = run.recipe.schedule.iterations * (run.recipe.batch.train_batch_tokens + 1)
    train = np.concatenate([read_shard(path) for path in shard_paths(data, "train")])
    parts = [read_shard(path) for path in shard_paths(data, "val")]
    tape = np.concatenate([*parts, train[seen:]])
    length = arguments.document_tokens
    long_enough = [doc for doc in find_documents(tape) if doc.num_targets >= length]
    chosen = [Document(start=doc.start, num_targets=length) for doc in long_enough]
    count = min(len(chosen), arguments.documents) // size * size
    return Texts(
        tape=torch.from_numpy(tape.astype(np.int32)).to(run.group.device),
        batches=[chosen[first : first + size] for first in range(0, count, size)],
    )


def trained_model(arguments: argparse.Namespace, seed: int) -> PreparedRun:
    """The recipe, trained for so many steps, or as it was packed."""
    dataset = find_datasets(arguments.data)[0]
    changes: dict[str, object] = {
        **ADAPTERS,
        "SEED": seed,
        "ITERATIONS": arguments.iterations,
        "MAX_WALLCLOCK_SECONDS": 0,
        "TRAIN_LOG_EVERY": 50,
        "DATA_PATH": str(dataset.folder.resolve()),
        "TOKENIZER_PATH": str(dataset.tokenizer.resolve()) if dataset.tokenizer else "",
        **dict(change.split("=", 1) for change in arguments.set),
    }
    origin = {name: ("the benchmark", value) for name, value in changes.items()}
    run = prepare_run(load_recipe(arguments.recipe, origin).recipe, Path(__file__))
    if arguments.artifact:
        with contextlib.chdir(arguments.artifact):
            load_artifact(run.model, run.recipe.quantization)
        return run
    training = begin_training(run)
    warm_up(training)
    train(training, lambda progress: None)
    return run


def main() -> None:
    """Train, then try every setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", default="42,314,1337")
    parser.add_argument("--starts", default="cold,warm")
    parser.add_argument("--rates", default="0.002,0.008,0.032")
    parser.add_argument("--decays", default="0.11")
    parser.add_argument("--limit", type=float, default=2.0, help="ttt_warm_start_limit when held")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--document-tokens", type=int, default=192)
    parser.add_argument("--backend", default=None, help="of torch.compile; without it: eager")
    parser.add_argument("--phase", action="store_true", help="all weights learn half way through")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--artifact", type=Path, metavar="FOLDER", help="in place of training")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.out.open("a", encoding="utf-8") as out:
        for seed in arguments.seeds.split(","):
            for record in try_all(trained_model(arguments, int(seed)), arguments):
                print(json.dumps(record), flush=True)
                out.write(json.dumps(record) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
