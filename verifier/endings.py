"""The words for how a run ended and how surely a guarantee held, shared by sandbox and files."""

from typing import Literal

Ending = Literal[
    "exited",
    "signalled",
    "wall_limit",
    "memory_limit",
    "process_limit",
    "output_limit",
    "scratch_limit",
]
Grade = Literal["proved", "configured", "observed", "absent"]
"""Tried and failed as it must; set but not tried; only watched; not held."""
