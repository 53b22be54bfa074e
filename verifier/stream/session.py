"""One process of the submission that answers over a channel, from a cold start to its end.

It is given code, artifact and tokenizer; no token of the data lies where it can look.
"""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from verifier.runs.delivery import deliver_artifact, deliver_code, disk_errors, fresh_folder
from verifier.runs.measure import Stage
from verifier.runs.processes import Process, Setting, listening, run_process
from verifier.runs.visibility import tokenizers
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.run_record_json import EvaluationPlan, StreamPlan
from verifier.stream.channel import (
    ANSWERS_NAME,
    ANSWERS_VARIABLE,
    TOKENS_NAME,
    TOKENS_VARIABLE,
    Channel,
    open_channel,
)
from verifier.stream.protocol import BrokenStreamError

PIPES = {TOKENS_VARIABLE: TOKENS_NAME, ANSWERS_VARIABLE: ANSWERS_NAME}


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What is started, and where it leaves its output."""

    setting: Setting
    seed: int
    evaluation: EvaluationPlan
    plan: StreamPlan
    artifact: Mapping[str, Path]
    folder: Path

    def hold(self, talk: Callable[[Channel], None]) -> float:
        """Start the submission, talk to it until nothing is left to say; gives its seconds.

        Raises:
            BrokenStreamError: what `talk` raised, with how the process ended.
            SandboxUnavailableError: the sandbox could not start.
            RunDirectoryError: the disk refuses.
            KeyboardInterrupt: the process was killed.
        """
        with disk_errors(self.folder):
            remove_tree(self.folder)
            self.folder.mkdir(parents=True)
        with fresh_folder(self.folder / "work") as workdir, contextlib.ExitStack() as ends:
            deliver_artifact(self.artifact, workdir)
            deliver_code(self.setting.harness.submission, workdir, self.evaluation.code)
            with disk_errors(workdir):
                channel = ends.enter_context(open_channel(workdir))
            with ThreadPoolExecutor(max_workers=1) as pool:
                # Its ends are closed with the last word, which is how the submission knows.
                talked = pool.submit(lambda: _talk_and_close(talk, channel, ends))
                try:
                    stage = self._run(workdir)
                finally:
                    channel.has_ended.set()
            return _seconds(talked.exception(), stage)

    def _run(self, workdir: Path) -> Stage:
        process = Process(
            name="stream",
            seed=self.seed,
            argv=self.plan.argv,
            environment=self.plan.environment | PIPES,
            workdir=workdir,
            mounts=tokenizers(self.setting.prepared.data),
        )
        with listening(self.folder, self.setting) as listener:
            return run_process(process, self.setting, listener)


def _talk_and_close(
    talk: Callable[[Channel], None], channel: Channel, ends: contextlib.ExitStack
) -> None:
    with ends:
        talk(channel)


def _seconds(error: BaseException | None, stage: Stage) -> float:
    if isinstance(error, BrokenStreamError):
        said = f"; its last words: {stage.last_words[:200]}" if stage.last_words else ""
        raise BrokenStreamError(f"{error} ({stage.result.detail}{said})")
    if error is not None:
        raise error
    return stage.result.wall_seconds
