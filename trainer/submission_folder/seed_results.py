"""What a seed's log says about its result. The log is the only source of the folder's figures."""

import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

FIGURES = {
    "script_sha256": r"^script_sha256:([0-9a-f]{64})$",
    "val_loss": r"^final_int\d_\w+_roundtrip_exact val_loss:([0-9.]+) ",
    "val_bpb": r"^final_int\d_\w+_roundtrip_exact val_loss:\S+ val_bpb:([0-9.]+)$",
    "eval_time_ms": r"^final_int\d_\w+_roundtrip val_loss:.* eval_time:(\d+)ms$",
    "num_tokens": r"^val_loader:shards .* tokens:(\d+)$",
    "total_bytes": r"^Total submission size int\d\+\w+: (\d+) bytes$",
    "steps": r"^step:(\d+)/\d+ train_loss:",
    "train_time_ms": r"^step:\d+/\d+ train_loss:.* train_time:(\d+)ms",
    "world_size": r"^world_size:(\d+) ",
    "device": r"^device:(.*) threads:\d+$",
    "torch_version": r"^Running PyTorch (\S+)$",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedResult:
    """One finished seed."""

    seed: int
    script_sha256: str
    val_bpb: float
    val_loss: float  # nats a token
    num_tokens: int  # scored
    total_bytes: int  # artifact and code
    train_seconds: float
    eval_seconds: float
    steps: int
    hardware: str
    torch_version: str


def read_seed_result(log: Path, seed: int) -> SeedResult | None:
    """The result that a log ends with; None if there is no log, or no score that is a number.

    Of a figure that is printed more than once, the last counts.
    """
    if not log.is_file():
        return None
    text = log.read_text(encoding="utf-8", errors="replace")
    found = {
        name: matches[-1]
        for name, pattern in FIGURES.items()
        if (matches := re.findall(pattern, text, re.MULTILINE))
    }
    if set(found) != set(FIGURES):
        return None
    return SeedResult(
        seed=seed,
        script_sha256=found["script_sha256"],
        val_bpb=float(found["val_bpb"]),
        val_loss=float(found["val_loss"]),
        num_tokens=int(found["num_tokens"]),
        total_bytes=int(found["total_bytes"]),
        train_seconds=int(found["train_time_ms"]) / 1000.0,
        eval_seconds=int(found["eval_time_ms"]) / 1000.0,
        steps=int(found["steps"]),
        hardware=f"{found['world_size']} x {found['device']}",
        torch_version=found["torch_version"],
    )


def bits_per_decoded_byte(results: list[SeedResult], text_bytes: int) -> float:
    """The mean score if the decoded text's bytes are the denominator."""
    mean_nats = statistics.fmean(result.val_loss * result.num_tokens for result in results)
    return mean_nats / math.log(2.0) / text_bytes
