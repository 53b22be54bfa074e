"""Processes that begin with PyTorch imported: a script starts in a tenth of a second, not in five.

They are forked off a server that has imported it once and done nothing else; each has an
environment, a folder, arguments and output of its own, as a command has.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch.multiprocessing

FORKED = multiprocessing.get_context("forkserver")
# What a script imports, and what PyTorch imports behind it when it compiles or optimises.
FORKED.set_forkserver_preload(["torch", "torch._dynamo", "sentencepiece", "trainer.pipeline"])


def run_forked(
    call: Callable[..., object], *arguments: object, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Call a function of a module in a process of its own; the environment is added to ours."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        process = FORKED.Process(
            target=_enter, args=(outputs, cwd, os.environ | environment, call, arguments)
        )
        process.start()
        process.join()
        stdout, stderr = (path.read_text() for path in outputs)
    return subprocess.CompletedProcess(call.__name__, process.exitcode or 0, stdout, stderr)


def run_script(
    script: Path, *words: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What `python SCRIPT WORDS…` does in the script's folder."""
    return run_forked(_as_main, script, words, cwd=script.parent, environment=environment)


def run_together(
    call: Callable[..., object], arguments: tuple[object, ...], num_processes: int = 2
) -> None:
    """Call a function as every rank of so many processes; one that fails ends them all."""
    torch.multiprocessing.start_processes(
        call, arguments, nprocs=num_processes, start_method="forkserver"
    )


def _as_main(script: Path, words: tuple[str, ...]) -> None:
    sys.argv, sys.path[0] = [script.name, *words], str(script.parent)
    runpy.run_path(str(script), run_name="__main__")


def _enter(
    outputs: list[Path],
    cwd: Path,
    environment: dict[str, str],
    call: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    for descriptor, path in enumerate(outputs, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    call(*arguments)
