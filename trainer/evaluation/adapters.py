"""Low-rank adapters: what a document adds to the model's layers, and learns.

One for each document in a batch and each use of a block; `trainer.model.deltas` says where they
stand. B documents, T tokens, K rank.
"""

from collections.abc import Mapping
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.model.deltas import AttentionDeltas, BlockDeltas, Deltas
from trainer.model.transformer import GPT
from trainer.recipe import EvaluationOptions

ADAM_EPS = 1e-10
ADAPTER_SEED = 0
POWER_ITERATIONS = 8  # enough where it matters: what has grown far stands out from the rest


def fresh_norm(rank: int, num_inputs: int) -> float:
    """The largest singular value that a fresh A has on average.

    By Marchenko and Pastur's law, (√inputs + √rank) standard deviations of its entries, which are
    uniform in ±1/√inputs.
    """
    return float((1.0 + (rank / num_inputs) ** 0.5) / 3.0**0.5)


def zeros_as_gradients_come(
    num_documents: int, num_outputs: int, num_inputs: int, device: torch.device
) -> Tensor:  # (documents, outputs, inputs), the outputs side by side in memory
    """A factor in the order in which the gradient of x Wᵀ is made: else each is copied into it."""
    return torch.zeros(num_documents, num_inputs, num_outputs, device=device).transpose(1, 2)


class Adapter:
    """A low-rank addition to a layer, one for each document: x ↦ scale (x Aᵀ) Bᵀ, at first 0.

    Batches of any size use the same memory: as much of it as they have documents. A may lie beside
    that of other adapters which see the same inputs.
    """

    down: Tensor  # A: (B, K, inputs)
    up: Tensor  # B: (B, outputs, K)

    def __init__(self, all_down: Tensor, num_outputs: int, options: EvaluationOptions) -> None:
        most, self.rank, self.num_inputs = all_down.shape
        self.scale = options.ttt_lora_alpha / self.rank if options.ttt_lora_alpha else 1.0
        self._all_down = all_down
        self._all_up = zeros_as_gradients_come(most, num_outputs, self.rank, all_down.device)

    def __call__(self, inputs: Tensor) -> Tensor:  # (B, T, inputs) → (B, T, outputs)
        return self.widened(inputs @ self.down.transpose(1, 2))

    def widened(self, narrow: Tensor) -> Tensor:  # x Aᵀ (B, T, K) → (B, T, outputs)
        """The second half of the way."""
        added = narrow @ self.up.transpose(1, 2)
        return added if self.scale == 1.0 else added * self.scale

    def renew(self, random: torch.Generator) -> None:
        """A uniform in ±1/√inputs, the same for all documents."""
        bound = self.num_inputs**-0.5
        initial = torch.empty(self._all_down.shape[1:]).uniform_(-bound, bound, generator=random)
        self._all_down.copy_(initial.expand_as(self._all_down))

    def growth(self) -> Tensor:  # (B,)
        """The largest singular value of each A, over what that of a fresh one is on average.

        No input's (x Aᵀ), and so no step of B, is longer than this many times that of the input
        which a fresh A stretches most. Found by power iteration, from below.
        """
        down = self._all_down
        inputs = down[:, :1]  # (B, 1, inputs)
        for _ in range(POWER_ITERATIONS):
            inputs = F.normalize(inputs @ down.transpose(1, 2) @ down, dim=-1)
        stretched = inputs @ down.transpose(1, 2)  # (B, 1, K)
        largest: Tensor = torch.linalg.vector_norm(stretched, dim=(1, 2))
        return largest / fresh_norm(*down.shape[1:])

    def hold(self, limit: float) -> None:
        """Shrink each A that has grown beyond a limit back to it; its directions stay."""
        self._all_down.mul_((limit / self.growth()).clamp(max=1.0)[:, None, None])

    def forget(self) -> None:
        """B zero."""
        self._all_up.zero_()

    def keep(self, down: Tensor) -> None:
        """Be the adapter of the first documents, as many as this part of A has."""
        self.down = down
        self.up = self._all_up[: len(down)].detach().requires_grad_()

    def shrink(self, documents: slice, factor: float) -> None:
        """Multiply A of some documents."""
        self._all_down[documents].mul_(factor)


class AdapterGroup:
    """Adapters that see the same inputs, by the names of what they are added to.

    Their As are one tensor: inputs are read once, and by one product, on the way there and back.
    """

    def __init__(
        self, layers: Mapping[str, Tensor], options: EvaluationOptions, device: torch.device
    ) -> None:  # layers: name → a weight (outputs, inputs) of its shape
        rank, num_inputs = options.ttt_lora_rank, next(iter(layers.values())).size(1)
        self._all_down = zeros_as_gradients_come(
            options.ttt_batch_size, rank * len(layers), num_inputs, device
        )
        parts = self._all_down.chunk(len(layers), dim=1)
        self.adapters = {
            name: Adapter(part, weight.size(0), options)
            for part, (name, weight) in zip(parts, layers.items(), strict=True)
        }

    def keep(self, num_documents: int) -> None:
        """Be the adapters of the first so many documents."""
        self.down = self._all_down[:num_documents].detach().requires_grad_()
        for index, adapter in enumerate(self.adapters.values()):
            own = slice(index * adapter.rank, (index + 1) * adapter.rank)
            adapter.keep(self.down if len(self.adapters) == 1 else self.down[:, own])

    def onto_attention(self, inputs: Tensor) -> AttentionDeltas:  # (B, T, inputs)
        """What each of them adds."""
        narrow = (inputs @ self.down.transpose(1, 2)).chunk(len(self.adapters), dim=-1)
        return AttentionDeltas(
            **{
                name: adapter.widened(part)
                for part, (name, adapter) in zip(narrow, self.adapters.items(), strict=True)
            }
        )

    def parts(self) -> list[Tensor]:
        """What an optimizer moves."""
        return [self.down, *(adapter.up for adapter in self.adapters.values())]


class Adapters:
    """All adapters of a batch of documents, with the optimizer that moves them.

    What they and the optimizer know lies in the same memory for all batches.
    """

    def __init__(self, model: GPT, options: EvaluationOptions) -> None:
        self.options = options
        self.device = model.tok_emb.weight.device
        self.groups: list[AdapterGroup] = []
        self.num_begun = self.num_documents = self.steps_missed = 0
        head = model.tok_emb.weight if model.lm_head is None else model.lm_head.weight
        self.deltas = Deltas(
            blocks=[self._of_block(model, f"blocks.{step.layer}") for step in model.steps],
            head=self._alone(head) if options.ttt_head_lora else None,
        )
        self.all = [adapter for group in self.groups for adapter in group.adapters.values()]
        for group in self.groups:
            group.keep(options.ttt_batch_size)
        self._moments = [self._moments_of(part) for part in self.parts()]
        self.renew()
        self.begin(options.ttt_batch_size)

    def _of_block(self, model: GPT, block: str) -> BlockDeltas:
        """What the recipe adds in one use of a block; the feed-forward layer is gone round."""
        wanted = self.options
        queries = model.get_parameter(f"{block}.attn.c_q.weight")  # as wide at both ends
        layers = {}
        if wanted.ttt_q_lora:
            layers["query"] = queries
        if wanted.ttt_k_lora:
            layers["key"] = model.get_parameter(f"{block}.attn.c_k.weight")
        if wanted.ttt_v_lora:
            layers["value"] = model.get_parameter(f"{block}.attn.c_v.weight")
        if wanted.ttt_o_lora:
            layers["out"] = queries
        return BlockDeltas(
            attention=self._new_group(layers).onto_attention if layers else None,
            mlp=self._alone(queries) if wanted.ttt_mlp_lora else None,
        )

    def _alone(self, weight: Tensor) -> Adapter:
        return self._new_group({"alone": weight}).adapters["alone"]

    def _new_group(self, layers: Mapping[str, Tensor]) -> AdapterGroup:
        self.groups.append(AdapterGroup(layers, self.options, self.device))
        return self.groups[-1]

    def renew(self) -> None:
        """Forget everything that was learnt from any document."""
        self.steps_missed = 0
        random = torch.Generator().manual_seed(ADAPTER_SEED)
        for adapter in self.all:
            adapter.renew(random)

    def begin(self, num_documents: int) -> None:
        """Be ready for a batch of so many documents, with an optimizer that knows of none before.

        What their predecessors learnt is forgotten, but for A where the recipe keeps it warm.
        """
        self._decay_of_those_over()
        if not self.options.ttt_warm_start_a:
            self.renew()
        for adapter in self.all:
            if self.options.ttt_warm_start_limit > 0:
                adapter.hold(self.options.ttt_warm_start_limit)
            adapter.forget()
        for moment in chain.from_iterable(moments.values() for moments in self._moments):
            moment.zero_()
        self.num_begun = num_documents
        self.read(num_documents)

    def keep(self, num_documents: int) -> None:
        """Leave out all but the first documents: the others are over.

        In the public scripts they stay in the batch, and a warm A of theirs decays on; so it does
        here. (Its momentum, which no record has, ends.)
        """
        if num_documents == self.num_documents:
            return
        self._decay_of_those_over()
        self.read(num_documents)

    def read(self, num_documents: int) -> None:
        """Be the adapters of the first so many documents, with what the optimizer knows of them."""
        for group in self.groups:
            group.keep(num_documents)
        self.num_documents = num_documents
        self.optimizer = self._new_optimizer()
        for part, moments in zip(self.parts(), self._moments, strict=True):
            self.optimizer.state[part] = {
                name: moment[:num_documents] if moment.ndim else moment
                for name, moment in moments.items()
            }

    def put_first(self, order: Tensor) -> None:  # (B,) int64
        """Give each document the place that the order says; `keep` then leaves out the last."""
        for part in self.parts():
            part.data.copy_(part.data[order])
            for tensor in self.optimizer.state[part].values():
                if tensor.ndim:
                    tensor.copy_(tensor[order])

    def step(self) -> None:
        """One step along the gradients, which are dropped; the host notes it by `note_step`."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def note_step(self) -> None:
        """Documents that are over have missed a step."""
        self.steps_missed += 1

    def _decay_of_those_over(self) -> None:
        """Make up for the steps that documents no longer take part in."""
        over = slice(self.num_documents, self.num_begun)
        if self.options.ttt_warm_start_a and self.num_documents < self.num_begun:
            rate = self.options.ttt_lora_lr * self.options.ttt_weight_decay
            for adapter in self.all:
                adapter.shrink(over, (1.0 - rate) ** self.steps_missed)
        self.steps_missed = 0

    def _moments_of(self, part: Tensor) -> dict[str, Tensor]:
        """What Adam notes of a part, by PyTorch's names."""
        return {
            "step": torch.zeros((), device=self.device),
            "exp_avg": torch.zeros_like(part, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(part, requires_grad=False),
        }

    @property
    def _is_on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def _new_optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            self.parts(),
            lr=self.options.ttt_lora_lr,
            betas=(self.options.ttt_beta1, self.options.ttt_beta2),
            eps=ADAM_EPS,
            weight_decay=self.options.ttt_weight_decay,
            fused=self._is_on_gpu,
            capturable=self._is_on_gpu,
        )

    def parts(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [part for group in self.groups for part in group.parts()]
