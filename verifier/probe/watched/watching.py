"""A whole run with the instrument in its process, for scripts that write no losses themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from verifier.probe.scored import Scored
from verifier.probe.tapes.variants import Tokens
from verifier.probe.watched.ledger import Ledger, read_ledger
from verifier.runs.delivery import deliver_artifact, deliver_code, deliver_submission, fresh_folder
from verifier.runs.left_files import written_files
from verifier.runs.measure import Stage
from verifier.runs.processes import Listener, Process, Setting, run_process
from verifier.runs.visibility import Mounts
from verifier.schemas.probe_record_json import LedgerRecord

INSTRUMENT = Path(__file__).with_name("instrument")
INSTRUMENT_INSIDE = "/pgolf/instrument"
RECORD_FILE = ".pgolf_record.bin"
INSTRUMENTED = {
    "PYTHONPATH": INSTRUMENT_INSIDE,
    "PGOLF_RECORD": RECORD_FILE,
    # What is compiled calls functions that are not those of PyTorch's modules.
    "TORCH_COMPILE_DISABLE": "1",
    # Else products on a GPU do not repeat themselves from run to run.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
UNHEARD = Ledger(record=LedgerRecord(not_evaluated="PyTorch computed no loss"), losses=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedRun:
    """Which seed, in which folder, with which data in sight and which artifact to evaluate."""

    seed: int
    folder: Path
    mounts: Mounts
    artifact: Mapping[str, Path]
    """Name → file; empty where one command trains and evaluates."""
    tape: Tokens
    """The text that is scored."""
    training: Sequence[Tokens]
    """What is learned from."""


def run_watched(run: WatchedRun, setting: Setting, listener: Listener) -> Scored:
    """Run, and read what the instrument noted of the losses on the tape.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: the disk refuses.
        KeyboardInterrupt: the running process was killed.
    """
    plan = setting.prepared.plan
    launched = plan.evaluation or plan
    with fresh_folder(run.folder / "work") as workdir:
        delivered = _deliver(run, setting, workdir)
        process = Process(
            name="evaluation" if plan.evaluation else "run",
            seed=run.seed,
            argv=launched.argv,
            environment=launched.environment | INSTRUMENTED,
            workdir=workdir,
            mounts=run.mounts | {INSTRUMENT.resolve(): INSTRUMENT_INSIDE},
        )
        stage = run_process(process, setting, listener)
        record = written_files(workdir, delivered).get(RECORD_FILE)
        printed = stage.log.headline.val_loss if stage.log.headline else None
        ledger = UNHEARD
        if record:
            ledger = read_ledger(record.location, run.tape, printed, run.training)
    return Scored(
        losses=ledger.losses if stage.result.ended_well else None,
        detail=ledger.record.not_evaluated or how_it_ended(stage),
        wall_seconds=stage.result.wall_seconds,
        ledger=ledger.record,
        noted_at=ledger.noted_at,
    )


def _deliver(run: WatchedRun, setting: Setting, workdir: Path) -> dict[str, int]:
    submission, evaluation = setting.harness.submission, setting.prepared.plan.evaluation
    if evaluation is None:
        return deliver_submission(submission, workdir)
    given = deliver_artifact(run.artifact, workdir)
    return given | deliver_code(submission, workdir, evaluation.code)


def how_it_ended(stage: Stage) -> str:
    """The ending, with the last words of a script that failed."""
    said = "" if stage.result.ended_well else f": {stage.last_words[:200]}"
    return f"{stage.result.detail}{said}"
