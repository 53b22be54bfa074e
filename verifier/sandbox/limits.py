"""What a sandbox must hold a process tree to."""

from dataclasses import dataclass

from verifier.sandbox.scratch import MAX_SCRATCH_ENTRIES


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxLimits:
    """Hard limits: the whole process tree is killed when one is passed."""

    wall_seconds: float
    memory_bytes: int
    num_processes: int
    output_bytes: int
    scratch_bytes: int
    scratch_entries: int = MAX_SCRATCH_ENTRIES
    """Files and folders, each of which costs the disk an inode and us the time to look."""
