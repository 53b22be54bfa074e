"""A track that runs in a second: small limits, tiny shards, a submission of thirty lines.

Its limits of time are far off, so that no busy machine decides; what shall meet one runs on
`tiny_hurried`.
"""

import struct
from pathlib import Path

from verifier.rulebook import load_rulebook

HONEST_SCRIPT = Path(__file__).with_name("honest_script.py").read_text()
README = """# Tiny

```
export STEPS=4
SEED=42 DATA_PATH=/elsewhere torchrun --standalone --nproc_per_node=8 train_gpt.py
```
"""
TINY_LIMITS = {
    "artifact_bytes": 4_000,
    "train_seconds": 60,
    "train_overrun_seconds": 1,
    "eval_seconds": 60,
    "hard_wall_seconds": 120,
    "memory_bytes": 2**28,
    "scratch_bytes": 2**23,
    "output_bytes": 2**19,
    "num_processes": 32,
}
TINY_TOKENS, TINY_BYTES = 999, 2_500


def tiny_track(name: str = "tiny", **changed: int) -> dict:
    """The record track with limits that a test can afford to pass; some may be others."""
    track = load_rulebook("10min_16mb").track.model_dump(mode="json")
    values = TINY_LIMITS | changed
    limits = {n: {"value": v, "unit": "x", "source": "test"} for n, v in values.items()}
    family = {"tokenizer": "tiny", "scored_tokens": TINY_TOKENS, "scored_bytes": TINY_BYTES}
    wanted = (
        *("missing_file", "failed_run", "oversized_artifact", "overlong_training"),
        "inconsistent_score",
    )
    return track | {
        "id": name,
        "claims_record": False,
        "hardware": {"num_gpus": 0, "source": "test"},
        "limits": limits,
        "dataset": {
            "default_folder": "data",
            "mend": "make data",
            "families": [family | {"source": "test"}],
        },
        "launch": {"launcher": "python", "num_processes": 1, "source": "test"},
        "required_files": ["readme", "script"],
        "rules": {rule: "reject" for rule in wanted},
    }


def write_shard(path: Path, num_tokens: int, magic: int = 20240520) -> None:
    header = struct.pack("<3i", magic, 1, num_tokens).ljust(1024, b"\0")
    path.write_bytes(header + bytes(2 * num_tokens))
