"""How the claimed run was configured: what the logs print, then what the README's command sets."""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from verifier.claims.run_command import find_run_commands
from verifier.claims.seed_by_seed import Claims, LogClaim
from verifier.data_flow.unprinted import UnprintedLine, unprinted_lines
from verifier.intake.submission import Submission, SubmissionFile
from verifier.reading.program import Program

MAX_LOG_CHARACTERS = 4_000_000
MIN_WITNESS_CHARACTERS = 10
HOLE = "\0"  # stands for a formatted value in the text of an f-string
_FIGURE = re.compile(r"\b\d\.\d{3,12}")
_TITLE_FIGURE = re.compile(r"(?<![\d.])([0-2]\.\d{4,8})(?![\d.])")
_NUMBER = re.compile(r"\d[\d.]*")
_ROUNDING = 6e-5  # BPB: a claim has four decimals or more
_SEED_SPREAD = 0.003  # BPB: how far from the mean a seed's score may lie
_DUMPED = re.compile(r"  [A-Za-z_]\w{0,80}: ?\S")
_WORD = re.compile(r"[A-Za-z]{3}")


@dataclass(slots=True)
class Settings:
    """Assignments of the claimed run, None where the folder disagrees, and its logs' text."""

    environment: Mapping[str, str | None] = field(default_factory=dict)
    hyperparameters: Mapping[str, str | None] = field(default_factory=dict)
    log_text: str = field(default="", repr=False)
    settled_text: str = field(default="", repr=False)  # of the logs that the settings come from
    claiming_lines: tuple[str, ...] = ()  # log lines with a BPB that is claimed
    trusts_silence: bool = False  # whether what no log says was not done
    unprinted: tuple[UnprintedLine, ...] = ()  # log lines that other code printed

    def is_printed(self, witness: str) -> bool:
        """Whether a piece of text long enough to mean something stands in a log."""
        return self.is_telling(witness) and witness.strip() in self.log_text

    def is_left_by_run(self, witness: str) -> bool:
        """Whether a run with these settings printed it: other logs may be of other settings."""
        text = self.settled_text or self.log_text
        return self.is_telling(witness) and witness.strip() in text

    @staticmethod
    def is_telling(witness: str) -> bool:
        """Whether a piece of text is long enough to mean something."""
        witness = witness.strip()
        return len(witness) >= MIN_WITNESS_CHARACTERS and _WORD.search(witness) is not None

    def is_claiming(self, text: str) -> bool:
        """Whether a printed text, holes and all, can be one of the claiming lines."""
        pieces = [piece.strip() for piece in text.split(HOLE)]
        pieces = [piece for piece in pieces if len(piece) > 2]
        return any(all(piece in line for piece in pieces) for line in self.claiming_lines)


def read_settings(case: Submission, claims: Claims, program: Program, ranks: int) -> Settings:
    """Collect the settings that hold for the claimed run on `ranks` processes."""
    launched = {"WORLD_SIZE": str(ranks), "RANK": "0", "LOCAL_RANK": "0"}
    commands = find_run_commands(case.readme_text or "")
    source = {line.strip() for module in program.modules for line in module.text.splitlines()}
    log_text = _printed_text(case.logs, source)
    claiming_lines = _claiming_lines(claims, log_text) + _titled_lines(case, log_text)
    settling = _settling_logs(claims, claiming_lines)
    return Settings(
        environment=_agreed(command.environment for command in commands) | launched,
        hyperparameters=_agreed(log.log.hyperparameters for log in settling),
        log_text=log_text,
        settled_text=_printed_text([log.file for log in settling], source),
        trusts_silence=bool(log_text),
        claiming_lines=claiming_lines,
        unprinted=unprinted_lines(claims, program),
    )


def _settling_logs(claims: Claims, claiming_lines: tuple[str, ...]) -> list[LogClaim]:
    """Of the logs that print settings those with a claimed figure, else those behind the claim."""
    dumped = [log for log in claims.logs if log.log.hyperparameters]
    wanted = set(claiming_lines)
    carrying = [log for log in dumped if not wanted.isdisjoint((log.file.text or "").splitlines())]
    return carrying or [log for log in claims.claiming_logs if log.log.hyperparameters]


def logged_constant(text: str) -> object:
    """The Python value that a hyperparameter dump prints; the text itself if it is no literal."""
    try:
        return ast.literal_eval(text) if len(text) < 100 else text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def _claiming_lines(claims: Claims, log_text: str) -> tuple[str, ...]:
    """Log lines with a stated BPB; where a mean is stated, those with a figure near it."""
    lines = [line for line in log_text.split("\n") if "bpb" in line.lower()]
    stated = [seed.stated.val_bpb for seed in claims.seeds if seed.stated is not None]
    known = [value for value in (*stated, claims.headline_bpb) if value is not None]
    exact = tuple(line for line in lines if _carries(line, known, _ROUNDING))
    return exact or _nearest_lines(lines, known)


def _nearest_lines(lines: list[str], claimed: list[float]) -> tuple[str, ...]:
    """Lines of the label whose figures lie, on average, nearest to a claim that is a mean."""
    by_label: dict[str, dict[str, float]] = {}
    for line in lines:
        off = [figure - value for figure in _figures(line) for value in claimed]
        if off and abs(nearest := min(off, key=abs)) <= _SEED_SPREAD:
            by_label.setdefault(_NUMBER.sub("", line), {})[line] = nearest
    averages = {label: abs(fmean(near.values())) for label, near in by_label.items()}
    best = min(averages.values(), default=0.0)
    chosen = (label for label, average in averages.items() if average <= best + _ROUNDING)
    return tuple(line for label in chosen for line in by_label[label])


def _titled_lines(case: Submission, log_text: str) -> tuple[str, ...]:
    """Log lines with a figure that the folder's name or the README's title gives."""
    headings = (text for text in (case.readme_text or "").split("\n") if text.startswith("# "))
    titles = f"{case.name} {next(headings, '')[:400]}".replace("_", " ")
    values = [float(figure) for figure in _TITLE_FIGURE.findall(titles)]
    lines = (line for line in log_text.split("\n") if values and "bpb" in line.lower())
    return tuple(line for line in lines if _carries(line, values, _ROUNDING))


def _figures(line: str) -> list[float]:
    return [float(figure) for figure in _FIGURE.findall(line[:500])]


def _carries(line: str, values: list[float], tolerance: float) -> bool:
    return any(abs(figure - value) <= tolerance for figure in _figures(line) for value in values)


def _agreed(sources: Iterable[Mapping[str, str]]) -> dict[str, str | None]:
    """What every source sets alike; None for a name on which they differ."""
    sources = list(sources)
    names = {name for source in sources for name in source}
    values = {name: {source.get(name) for source in sources} for name in names}
    return {name: found.pop() if len(found) == 1 else None for name, found in values.items()}


def _printed_text(logs: Iterable[SubmissionFile], source: set[str]) -> str:
    """The logs' text less the scripts that many logs begin with, and less dumps of settings.

    A setting's name in a dump is no sign that a branch which prints it, too, was taken.
    """
    kept: list[str] = []
    room = MAX_LOG_CHARACTERS
    for log in logs:
        text = (log.text or "")[:room]
        room -= len(text)
        told = (line for line in text.splitlines() if line.strip() not in source)
        kept += [line for line in told if not _DUMPED.match(line) or "bpb" in line.lower()]
    return "\n".join(kept)
