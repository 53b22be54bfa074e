"""How a submission is launched: the command of its README, or the two of its contract."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from verifier.claims.run_command import RunCommand, find_run_commands, read_launch_line
from verifier.errors import SubmissionUnreadableError
from verifier.intake.submission import Submission
from verifier.schemas.pgolf_yaml import (
    SplitContract,
    StreamContract,
    TextContract,
    split_contract,
)
from verifier.schemas.run_record_json import EvaluationPlan, StreamPlan, TextPlan
from verifier.schemas.track_yaml import Launch
from verifier.track_data import TrackData

DATA_INSIDE = "/pgolf/data"
TOKEN_LOSSES_FILE = ".pgolf_token_losses.f32"
MAX_NAMED = 20
PYTHON = "python"
"""Stands for the harness's own interpreter, whose path must not make another plan of the same."""
LOSSES_VARIABLE = "PGOLF_TOKEN_LOSSES"
OWN_NAMES = ("SEED", "DATA_PATH", "DATA_DIR", "TOKENIZER_PATH", "RUN_ID", LOSSES_VARIABLE)
"""Variables that the harness sets; a run command's values for them are never used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launcher:
    """How scripts are started here: the track's way, with what the user asked for."""

    launch: Launch
    data: TrackData
    num_processes: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def argv(self, script: str, command: RunCommand | None) -> tuple[str, ...]:
        """The harness's interpreter, torchrun where the track launches so, script, arguments."""
        words = (script, *(command.arguments if command else ()))
        if self.launch.launcher == "python" and self.num_processes is None:
            return (PYTHON, *words)
        count = self.num_processes or self.launch.num_processes
        torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}")
        return (PYTHON, *torchrun, *words)

    def variables(self, command: RunCommand | None) -> dict[str, str]:
        """The track's, the run command's, the user's; last what only the harness may set."""
        asked = self.launch.environment | (command.environment if command else {})
        kept = {name: value for name, value in asked.items() if name not in OWN_NAMES}
        dataset = self.data.dataset.relative_to(self.data.folder).as_posix()
        tokenizer = self.data.tokenizer.relative_to(self.data.folder).as_posix()
        own = {
            "DATA_DIR": f"{DATA_INSIDE}/",
            "DATA_PATH": f"{DATA_INSIDE}/{dataset}",
            "TOKENIZER_PATH": f"{DATA_INSIDE}/{tokenizer}",
        }
        return kept | self.environment | own

    def origin(self, source: str, commands: tuple[RunCommand, ...]) -> str:
        """Where the variables come from, and which were left out."""
        parts = [source]
        left_out = [name for command in commands for name in command.left_out]
        if left_out:
            more = f" and {len(left_out) - MAX_NAMED} more" if len(left_out) > MAX_NAMED else ""
            parts.append(f"left out (need a shell): {', '.join(left_out[:MAX_NAMED])}{more}")
        if self.environment:
            parts.append(f"set for this run: {', '.join(sorted(self.environment))}")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """What is launched: one command for everything, or training and then evaluation."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    origin: str
    evaluation: EvaluationPlan | None


def choose_dataset(submission: Submission) -> str:
    """The name of the dataset that the submission's own command asks for, or nothing."""
    contract = read_split(submission)
    command = _launch_line(contract.train) if contract else readme_command(submission)
    return PurePosixPath(command.environment.get("DATA_PATH", "")).name if command else ""


def make_commands(submission: Submission, launcher: Launcher) -> Commands:
    """The contract's two commands, else the README's one, as they are started here.

    Raises:
        SubmissionUnreadableError: the contract cannot be kept.
    """
    contract = read_split(submission)
    if contract is None:
        return _whole(submission, launcher)
    train, evaluate = _launch_line(contract.train), _launch_line(contract.evaluate)
    script = _script(submission)
    evaluation = EvaluationPlan(
        argv=launcher.argv(evaluate.script, evaluate),
        environment=launcher.variables(evaluate) | {LOSSES_VARIABLE: TOKEN_LOSSES_FILE},
        artifact=contract.artifact,
        code=contract.code or (script,),
        stream=_stream_plan(contract.stream, launcher) if contract.stream else None,
        text=_text_plan(contract.text, launcher) if contract.text else None,
    )
    _require_code(submission, (*evaluation.code, train.script, evaluate.script))
    if evaluation.stream is not None:
        _require_code(submission, evaluation.stream.argv[1:2])
    if evaluation.text is not None:
        scripts = (evaluation.text.apply[1], evaluation.text.restore[1])
        _require_code(submission, scripts)
    return Commands(
        argv=launcher.argv(train.script, train),
        environment=launcher.variables(train),
        origin=launcher.origin("pgolf.yaml", (train, evaluate)),
        evaluation=evaluation,
    )


def _stream_plan(contract: StreamContract, launcher: Launcher) -> StreamPlan:
    """One process, whatever the track launches: it alone holds the pipes."""
    command = _launch_line(contract.command)
    return StreamPlan(
        argv=(PYTHON, command.script, *command.arguments),
        environment=launcher.variables(command),
        piece_tokens=contract.piece_tokens,
        context_tokens=contract.context_tokens,
        num_lanes=contract.num_lanes,
    )


def _text_plan(contract: TextContract, launcher: Launcher) -> TextPlan:
    """One process each, which sees no data at all."""
    commands = [_launch_line(line) for line in (contract.apply, contract.restore)]
    apply, restore = ((PYTHON, command.script, *command.arguments) for command in commands)
    environment = launcher.variables(commands[0]) | launcher.variables(commands[1])
    return TextPlan(apply=apply, restore=restore, environment=environment)


def read_split(submission: Submission) -> SplitContract | None:
    """The two phases that the folder offers; None where one command does everything.

    Raises:
        SubmissionUnreadableError: pgolf.yaml is there and cannot be kept; running the submission
            in another way than it asks for would test something else.
    """
    try:
        return split_contract(submission.contract) if submission.contract is not None else None
    except ValueError as error:
        raise SubmissionUnreadableError(f"{submission.root}/pgolf.yaml: {error}") from None


def readme_command(submission: Submission) -> RunCommand | None:
    """The README's launch line for the main script; the one that sets most wins."""
    commands = [
        command
        for command in find_run_commands(submission.readme_text or "")
        if PurePosixPath(command.script).name == PurePosixPath(_script(submission)).name
    ]
    return max(commands, key=lambda c: len(c.environment), default=None)


def _whole(submission: Submission, launcher: Launcher) -> Commands:
    command = readme_command(submission)
    environment = launcher.variables(command)
    if submission.contract is not None:
        environment[LOSSES_VARIABLE] = TOKEN_LOSSES_FILE
    source = f"README line {command.line}" if command else "no run command in the README"
    return Commands(
        argv=launcher.argv(_script(submission), command),
        environment=environment,
        origin=launcher.origin(source, (command,) if command else ()),
        evaluation=None,
    )


def _script(submission: Submission) -> str:
    if submission.script is None:
        raise SubmissionUnreadableError(
            f"{submission.root}: no training script to run; add train_gpt.py"
        )
    return str(submission.script.path)


def _launch_line(text: str) -> RunCommand:
    command = read_launch_line(text)
    if command is None:
        raise SubmissionUnreadableError(
            f"pgolf.yaml: {text[:80]!r} is no launch line; write NAME=value assignments, "
            "then python or torchrun and a script"
        )
    return command


def _require_code(submission: Submission, names: tuple[str, ...]) -> None:
    here = {file.path.as_posix() for file in submission.files}
    for name in names:
        if PurePosixPath(name).as_posix() not in here:
            raise SubmissionUnreadableError(
                f"{submission.root}/pgolf.yaml: names {name}, which is not in the folder"
            )
