"""The validation set scored, by a model that stays as it is or learns on the way."""

import os
from pathlib import Path

import numpy as np
import torch

from trainer.data.byte_lengths import count_bytes, load_byte_table
from trainer.data.token_shards import read_token_bytes
from trainer.evaluation.bits_per_byte import Score, load_validation_tokens, score_over
from trainer.evaluation.order_ledger import ledger_path
from trainer.evaluation.recorded_passes import CudaRecorder
from trainer.evaluation.scoring import Windows, check_token_ids, score_tokens
from trainer.evaluation.test_time_training import Conduct, score_with_training
from trainer.phases.prepare import PreparedRun, is_compiled
from trainer.recipe import Recipe


def score_model(
    run: PreparedRun, windows: Windows, *, learns: bool = False
) -> tuple[Score, torch.Tensor]:  # …, (N,) fp32 nats
    """Score the model as it is, or as it learns on the way: figures, and the loss of every token.

    Test-time training scores to the last token, as its public form does.
    """
    recipe = run.recipe
    tokens = load_validation_tokens(
        recipe.run.data_path,
        1 if learns else windows.seq_len,
        keep_tail=recipe.evaluation.score_tail or learns,
    )
    check_token_ids(tokens, recipe.model.vocab_size)
    pattern = Path(recipe.run.data_path) / "fineweb_val_*.bin"
    run.log.write(f"val_loader:shards pattern={pattern} tokens:{tokens.size - 1}")
    run.model.use_positions(windows.seq_len)
    run.model.eval()
    if learns:
        losses = learnt_losses(run, tokens)
    else:
        losses = score_tokens(run.forward, tokens, windows, run.group)
    run.model.use_positions(recipe.batch.row_tokens, recipe.batch.train_seq_len)
    run.model.train()
    return score_over(losses, scored_bytes(recipe, tokens)), losses


def learnt_losses(run: PreparedRun, tokens: np.ndarray) -> torch.Tensor:  # (N,) fp32 nats
    """The loss of every token but the first, from a model that learns from what was scored.

    Where losses are asked for, what was scored and learnt when is written beside them.
    """
    recipe, group, say = run.recipe, run.group, run.log.write
    is_recorded = group.device.type == "cuda" and recipe.evaluation.ttt_recorded_window > 0
    how = Conduct(
        backend="inductor" if is_compiled(recipe, group) else None,
        recorder=CudaRecorder() if is_recorded else None,
        say=say,
    )
    scores = score_with_training(run.model, tokens, recipe, group, conduct=how)
    say(f"ttt:compiled seconds:{scores.compile_seconds:.1f}")
    if path := os.environ.get("PGOLF_TOKEN_LOSSES"):
        scores.ledger.write(ledger_path(Path(path), group.rank))
        group.barrier()
    return scores.losses


def scored_bytes(recipe: Recipe, tokens: np.ndarray) -> int:
    """How many bytes all tokens but the first stand for.

    Raises:
        DataError: tokenizer or sidecar are missing or do not fit.
    """
    if recipe.evaluation.caseops_enabled:
        return int(read_token_bytes(recipe.run.data_path)[1 : tokens.size].sum(dtype=np.int64))
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    return count_bytes(table, tokens[:-1], tokens[1:])
