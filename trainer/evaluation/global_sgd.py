"""All weights learn from documents that were scored: the pauses of phased test-time training.

Plain SGD over the scored documents end to end, the shortest first (#1610, #1626): a step for each
`global_ttt_chunk_tokens`, a rest that fills no chunk left out. Rows are `ttt_eval_seq_len` tokens
and cut where documents begin, so that the number of processes changes nothing but rounding.
"""

import copy
import math

import torch
from torch import Tensor, nn

from trainer.data.batches import document_boundaries, on_device
from trainer.errors import RecipeError
from trainer.evaluation.document_batches import Document
from trainer.model.transformer import GPT, carried_out
from trainer.process_group import ProcessGroup
from trainer.recipe import EvaluationOptions


class WeightLearner:
    """SGD on the weights of a model, in place."""

    def __init__(self, model: GPT, options: EvaluationOptions, group: ProcessGroup) -> None:
        """Be ready to learn.

        Raises:
            RecipeError: a step has fewer rows than there are processes.
        """
        self.options, self.group = options, group
        per_step, seq_len = options.global_ttt_chunk_tokens, options.ttt_eval_seq_len
        if per_step // seq_len < group.world_size:
            raise RecipeError(
                f"evaluation.global_ttt_chunk_tokens {per_step} must be at least ttt_eval_seq_len "
                f"{seq_len} for each of {group.world_size} processes"
            )
        twin = twin_of(model)
        self.weights = list(twin.parameters())
        self.forward: nn.Module = twin
        if group.device.type == "cuda" and model.document_flash is None:
            # FlexAttention, which then sees to documents, writes out all scores unless compiled.
            self.forward = torch.compile(twin, dynamic=False, fullgraph=True)  # type: ignore[assignment]

    def learn(
        self,
        documents: list[Document],
        tape: Tensor,  # (N + 1,) int32: all tokens
    ) -> int:
        """Learn from documents that all were scored; returns the number of steps."""
        options = self.options
        per_step, seq_len = options.global_ttt_chunk_tokens, options.ttt_eval_seq_len
        places = torch.cat([torch.arange(d.num_targets) + d.start for d in documents])
        num_chunks = len(places) // per_step
        chunks = places[: num_chunks * per_step].view(num_chunks, -1, seq_len).to(tape.device)
        optimizer = torch.optim.SGD(
            self.weights, lr=options.global_ttt_lr, momentum=options.global_ttt_momentum
        )
        for index, rows in enumerate(chunks):
            falling = 0.5 + 0.5 * math.cos(math.pi * index / num_chunks)
            optimizer.param_groups[0]["lr"] = options.global_ttt_lr * falling
            for _ in range(options.global_ttt_epochs):
                optimizer.zero_grad()
                self._take_gradients(rows, tape)
                optimizer.step()
        return num_chunks * options.global_ttt_epochs

    def _take_gradients(
        self,
        rows: Tensor,  # (B, T) int64: places of inputs among the tokens, of all processes
        tape: Tensor,
    ) -> None:
        """Those of the mean loss of these rows, clipped."""
        own = rows[self.group.rank :: self.group.world_size]
        losses = losses_of_rows(self.forward, own, tape)
        torch.autograd.backward(losses.sum() / rows.numel())
        for weight in self.weights:
            if weight.grad is not None:
                self.group.sum_in_place(weight.grad)
        if self.options.global_ttt_grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.weights, self.options.global_ttt_grad_clip)


def losses_of_rows(
    model: nn.Module,
    rows: Tensor,  # (B, T) int64: places of inputs among the tokens, documents end to end
    tape: Tensor,  # (N + 1,) int32
) -> Tensor:  # (B * T,) fp32
    """The loss of what follows each input in its document, with what precedes it in the row."""
    inputs, targets = tape[rows].long(), tape[rows + 1].long()
    begins = document_boundaries(inputs.cpu().numpy(), rows.size(1))
    device_type = tape.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        losses: Tensor = model(inputs, targets, boundaries=on_device(begins, tape.device))
    return losses


def twin_of(model: GPT) -> GPT:
    """The same weights in the same memory, but with gradients.

    The model's own need never take any: code that was compiled for it stays as it is.
    """
    twin = copy.deepcopy(model).requires_grad_(True)
    twin.through = carried_out
    for own, shared in zip(twin.parameters(), model.parameters(), strict=True):
        own.data = shared.data
    return twin
