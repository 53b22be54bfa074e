"""A transform of text that the submission brings, as two commands that are run in the sandbox.

Each reads documents from the file that PGOLF_TEXT_IN names, an object with `text` on each line, and
writes as many to the file that PGOLF_TEXT_OUT names. It is given code, and sees no data.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from verifier.probe.fresh.transforms import BrokenTransformError, text_on
from verifier.probe.watched.watching import how_it_ended
from verifier.runs.delivery import deliver_code, disk_errors, fresh_folder
from verifier.runs.left_files import written_files
from verifier.runs.processes import Process, Setting, listening, run_process
from verifier.schemas.run_record_json import EvaluationPlan, TextPlan

GIVEN, MADE = ".pgolf_text_in.jsonl", ".pgolf_text_out.jsonl"
PATHS = {"PGOLF_TEXT_IN": GIVEN, "PGOLF_TEXT_OUT": MADE}
MAX_GROWTH = 8
"""Of a file of documents; marks and the spelling of JSON make it longer, no lossless undoing so."""
SPARE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredTransform:
    """The commands of pgolf.yaml, started anew for each heap of texts."""

    setting: Setting
    seed: int
    evaluation: EvaluationPlan
    plan: TextPlan
    name: str = "the transform of pgolf.yaml"
    marks: str = ""
    _calls: "itertools.count[int]" = field(default_factory=itertools.count)

    def apply(self, texts: Sequence[str]) -> list[str]:
        return self._changed(texts, self.plan.apply)

    def restore(self, texts: Sequence[str]) -> list[str]:
        return self._changed(texts, self.plan.restore)

    def _changed(self, texts: Sequence[str], argv: tuple[str, ...]) -> list[str]:
        """What a command makes of texts.

        Raises:
            BrokenTransformError: it failed, or wrote something else than as many texts.
            SandboxUnavailableError: the sandbox could not start.
            RunDirectoryError: the disk refuses.
        """
        harness = self.setting.harness
        folder = harness.journal.folder / "text" / str(next(self._calls))
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        with fresh_folder(folder / "work") as workdir:
            given = deliver_code(harness.submission, workdir, self.evaluation.code)
            with disk_errors(workdir):
                (workdir / GIVEN).write_bytes(content)
            self._run(argv, folder, workdir)
            made = written_files(workdir, given).get(MADE)
            if made is None or made.num_bytes > MAX_GROWTH * len(content) + SPARE_BYTES:
                raise BrokenTransformError(f"{self.name} wrote no {MADE}, or far too much")
            return _texts(made.location, len(texts), self.name)

    def _run(self, argv: tuple[str, ...], folder: Path, workdir: Path) -> None:
        process = Process(
            name="text",
            seed=self.seed,
            argv=argv,
            environment=self.plan.environment | PATHS,
            workdir=workdir,
            mounts={},
        )
        with listening(folder, self.setting) as listener:
            stage = run_process(process, self.setting, listener)
        if not stage.result.ended_well:
            raise BrokenTransformError(f"{self.name} failed: {how_it_ended(stage)}")


def _texts(path: Path, count: int, name: str) -> list[str]:
    """The texts of a file that a stranger wrote."""
    try:
        texts = [text_on(line) for line in path.read_bytes().splitlines()]
    except ValueError:
        raise BrokenTransformError(f'{name} wrote a line that is no object with "text"') from None
    if len(texts) != count:
        raise BrokenTransformError(f"{name} made {len(texts)} texts of {count}")
    return texts
