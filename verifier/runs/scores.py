"""A score from the losses that a run wrote, token by token."""

import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from verifier.claims.log_lines import FinalMetric
from verifier.runs.delivery import disk_errors
from verifier.runs.left_files import WrittenFile
from verifier.schemas.run_record_json import ScoreOrigin, TokenLosses
from verifier.units import bits_per_byte

KEPT_LOSSES = "token_losses.f32"
"""In a seed's folder, where a later look at single tokens needs them."""
MAX_TAIL_TOKENS = 4_096
"""Public scripts leave out a rest that is shorter than a sequence; sequences are no longer."""
MAX_ORDER_BYTES = 2**25
"""Of what one process tells of the order in which it scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredText:
    """What a full evaluation scores; `num_bytes` is None where the track does not pin it."""

    num_tokens: int
    num_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenScore:
    """The score of an evaluation that counts."""

    bpb: float | None
    loss_nats: float | None
    """Mean a token; ours also where the track does not pin the bytes, and the BPB is a print."""
    origin: ScoreOrigin


def read_token_losses(file: WrittenFile | None, num_tokens: int) -> TokenLosses | None:
    """The file of float32 losses in scoring order; None where the run wrote none."""
    if file is None:
        return None
    num_losses = file.num_bytes // 4
    if file.num_bytes == 0 or file.num_bytes % 4:
        return TokenLosses(
            num_losses=num_losses, num_tokens=num_tokens, mean_nats=None, all_alike=False
        )
    import numpy as np  # 0.1 s that a paper check never needs

    losses = np.memmap(file.location, dtype="<f4", mode="r")
    low, high = float(losses.min()), float(losses.max())
    return TokenLosses(
        num_losses=num_losses,
        num_tokens=num_tokens,
        # A NaN is not at least zero either.
        mean_nats=finite(float(losses.mean(dtype=np.float64))) if low >= 0 else None,
        all_alike=low == high,
    )


def keep_token_losses(file: WrittenFile | None, folder: Path, num_tokens: int) -> None:
    """Copy the losses of a small run into its folder; a file of any other size is left behind.

    Raises:
        RunDirectoryError: the disk refuses.
    """
    if file is not None and file.num_bytes <= 4 * num_tokens:
        with disk_errors(folder):
            shutil.copyfile(file.location, folder / KEPT_LOSSES, follow_symlinks=False)


def keep_orders(written: Mapping[str, WrittenFile], losses_name: str, folder: Path) -> None:
    """Copy what a run told beside its losses of the order in which it scored, where it is small.

    Args:
        written: all that the run left.
        losses_name: the file of losses.
        folder: the seed's.

    Raises:
        RunDirectoryError: the disk refuses.
    """
    for name, file in written.items():
        told = re.fullmatch(re.escape(losses_name) + r"(\.order\.\d{1,3}\.jsonl)", name)
        if told and file.num_bytes <= MAX_ORDER_BYTES:
            with disk_errors(folder):
                kept = folder / f"{KEPT_LOSSES}{told[1]}"
                shutil.copyfile(file.location, kept, follow_symlinks=False)


def choose_score(
    losses: TokenLosses | None, final: FinalMetric | None, text: ScoredText
) -> ChosenScore:
    """The score that counts: of every token's loss, and of a print only where there are none."""
    recomputed = recomputed_loss(losses)
    if recomputed is not None and text.num_bytes is not None:
        return ChosenScore(
            bpb=bits_per_byte(recomputed, text.num_tokens, text.num_bytes),
            loss_nats=recomputed,
            origin="token_losses",
        )
    printed = final.val_bpb if final else None
    loss = recomputed if recomputed is not None or final is None else final.val_loss
    return ChosenScore(bpb=printed, loss_nats=loss, origin="none" if printed is None else "printed")


def recomputed_loss(losses: TokenLosses | None) -> float | None:
    """Mean nats a token, if every token's loss is there."""
    if losses is None or losses.num_tokens < 1 or losses.num_losses != losses.num_tokens:
        return None
    return losses.mean_nats


def finite(value: float | None) -> float | None:
    """The value, or None where a script's absurd figures led out of all numbers."""
    return value if value is not None and math.isfinite(value) else None
