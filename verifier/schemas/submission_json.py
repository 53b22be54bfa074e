"""What an author says in submission.json, in any of the shapes seen, as one typed record.

The file is foreign: read leniently, unknown keys kept, a known key that cannot be read is named
and never guessed. Every figure here is a claim.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TEXTS = ("author", "github_id", "name", "date", "track")
_SEED_BLOCKS = ("seed_results", "seeds", "per_seed", "per_seed_results", "results")
_RESULT_BLOCKS = ("results", "result", "metrics")
_SEED_KEY = re.compile(r"(?:seed[_ ]?)?(\d{1,10})")
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,17})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """One figure's spellings in public submissions, the most telling first."""

    names: tuple[str, ...]
    names_ms: tuple[str, ...] = ()  # in milliseconds where the figure is in seconds
    names_minutes: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        return (*self.names, *self.names_ms, *self.names_minutes)

    def in_seconds(self, name: str, number: float) -> float:
        """The number under a spelling in the figure's own unit."""
        if name in self.names_ms:
            return number / 1000.0
        return number * 60.0 if name in self.names_minutes else number


_SEED_FIGURES = {
    "val_bpb": _Figure(
        names=("val_bpb", "mean_val_bpb", "val_bpb_mean", "mean_bpb", "bpb", "score")
        + ("val_bpb_per_seed", "val_bpb_seeds", "seed_scores", "seed_bpbs"),
    ),
    "val_loss": _Figure(
        names=("val_loss", "mean_val_loss", "val_loss_mean", "mean_val_loss_nats", "val_loss_nats"),
    ),
    "artifact_bytes": _Figure(
        names=("bytes_total", "artifact_bytes", "artifact_bytes_max", "bytes_total_max")
        + ("artifact_size_bytes", "total_bytes", "total_submission_bytes"),
    ),
    "train_seconds": _Figure(
        names=("train_time_s", "train_time_seconds", "training_time_seconds", "training_time_s")
        + ("train_s", "train_seconds", "training_seconds", "train_wallclock_s")
        + ("train_wallclock_seconds", "wallclock_seconds"),
        names_ms=("train_time_ms", "train_wallclock_ms", "training_time_ms"),
        names_minutes=("wallclock_minutes", "train_time_minutes", "training_time_minutes"),
    ),
    "eval_seconds": _Figure(
        names=("eval_time_s", "eval_time_seconds", "eval_s", "eval_seconds", "total_eval_time_s")
        + ("ttt_eval_time_s", "ttt_time_seconds"),
        names_ms=("eval_time_ms", "ttt_eval_time_ms", "ttt_time_ms"),
    ),
    "steps": _Figure(names=("steps", "step_stop", "stop_step", "train_steps", "training_steps")),
}
_VAL_BPB_STD = _Figure(names=("val_bpb_std", "std_val_bpb", "std_bpb"))
_CODE_BYTES = _Figure(names=("bytes_code", "code_bytes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedClaim:
    """What the file says of one seed."""

    seed: int
    val_bpb: float | None = None
    val_loss: float | None = None  # nats a token
    artifact_bytes: int | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """One submission.json, normalised; None where it says nothing that can be read."""

    author: str | None = None
    github_id: str | None = None
    name: str | None = None
    date: str | None = None
    track: str | None = None
    val_bpb: float | None = None
    val_loss: float | None = None  # nats a token
    val_bpb_std: float | None = None
    bytes_total: int | None = None
    bytes_code: int | None = None
    train_seconds: float | None = None
    eval_seconds: float | None = None
    seeds: tuple[int, ...] = ()
    per_seed: tuple[SeedClaim, ...] = ()
    unreadable: tuple[str, ...] = ()  # known keys that hold nothing we can read
    extra: Mapping[str, object] = field(default_factory=dict)  # every other key, as it stands


def read_metadata(document: object) -> Metadata:
    """Normalise a parsed submission.json, whatever shape its author chose."""
    if not isinstance(document, Mapping):
        return Metadata()
    top = _ObjectReader(_unfolded(document))
    texts = {name: top.text(name) for name in _TEXTS}
    seeds = top.seeds()
    per_seed = _seed_claims(top, seeds)
    figures = {name: top.figure(figure) for name, figure in _SEED_FIGURES.items()}
    return Metadata(
        **texts,
        val_bpb=figures["val_bpb"] or None,  # a zero stands where the score is to be filled in
        val_loss=figures["val_loss"],
        val_bpb_std=top.figure(_VAL_BPB_STD),
        bytes_total=top.whole(_SEED_FIGURES["artifact_bytes"]),
        bytes_code=top.whole(_CODE_BYTES),
        train_seconds=figures["train_seconds"],
        eval_seconds=figures["eval_seconds"],
        seeds=seeds or tuple(claim.seed for claim in per_seed),
        per_seed=per_seed,
        unreadable=tuple(top.unreadable),
        extra={key: value for key, value in document.items() if key not in top.understood},
    )


def _unfolded(document: Mapping[str, object]) -> Mapping[str, object]:
    """The document with what some authors put into a block of results beside the rest."""
    for name in _RESULT_BLOCKS:
        block = document.get(name)
        if isinstance(block, Mapping) and any("bpb" in str(key) for key in block):
            return {**block, **document}
    return document


class _ObjectReader:
    """One JSON object being read: which keys were understood, and which could not be."""

    def __init__(self, values: Mapping[str, object], where: str = "") -> None:
        self.values = values
        self.understood: set[str] = set()
        self.unreadable: dict[str, None] = {}
        self._where = where

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if isinstance(value, str):
            self.understood.add(name)
            return value
        if value is not None:
            self._unreadable(name)
        return None

    def figure(self, figure: _Figure) -> float | None:
        """The first of a figure's spellings that holds a number, in the figure's own unit."""
        for name in figure.spellings:
            value = self.values.get(name)
            number = _as_number(value)
            if number is not None:
                self.understood.add(name)
                return figure.in_seconds(name, number)
            if value is not None and name not in self.understood:
                self._unreadable(name)
        return None

    def whole(self, figure: _Figure) -> int | None:
        """Like figure(), for counts: a fraction is not a count, so it stays unread."""
        number = self.figure(figure)
        return int(number) if number is not None and number.is_integer() else None

    def seeds(self) -> tuple[int, ...]:
        """The plain list of seeds, if there is one."""
        listed = self.values.get("seeds")
        if not isinstance(listed, list) or any(isinstance(item, Mapping) for item in listed):
            return ()
        found = [_as_seed(item) for item in listed]
        if None in found:
            self._unreadable("seeds")
        self.understood.add("seeds")
        return tuple(seed for seed in found if seed is not None)

    def take(self, name: str) -> object:
        """A value that the caller can read; its key counts as understood."""
        self.understood.add(name)
        return self.values[name]

    def _unreadable(self, name: str) -> None:
        self.unreadable[self._where + name] = None


def _as_number(value: object) -> float | None:
    """A finite number, a string that is exactly one, or the mean or total of a small table."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("mean", "total") if key in value), None)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def _as_seed(value: object) -> int | None:
    """The seed that 42, "42" or "seed_42" names."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    named = _SEED_KEY.fullmatch(str(value))
    return int(named[1]) if named else None


def _seed_claims(top: _ObjectReader, seeds: tuple[int, ...]) -> tuple[SeedClaim, ...]:
    """All that the file says seed by seed, from blocks per seed and from tables per figure."""
    said: dict[int, dict[str, float]] = {}
    for seed, block in _seed_blocks(top):
        reader = _ObjectReader(block, where=f"seed {seed}: ")
        figures = {name: reader.figure(figure) for name, figure in _SEED_FIGURES.items()}
        known = {name: value for name, value in figures.items() if value is not None}
        said.setdefault(seed, {}).update(known)
        top.unreadable.update(reader.unreadable)
    for name, seed, value in _spread_figures(top, seeds):
        said.setdefault(seed, {}).setdefault(name, value)
    return tuple(_seed_claim(seed, figures) for seed, figures in said.items())


def _seed_blocks(top: _ObjectReader) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Objects that describe one seed: {"42": {...}}, [{"seed": 42, ...}] or "seed_42": {...}."""
    keyed: list[tuple[str, object, object]]
    keyed = [(key, key, value) for key, value in top.values.items() if key.startswith("seed_")]
    for name in _SEED_BLOCKS:
        block = top.values.get(name)
        if isinstance(block, Mapping):
            keyed += [(name, key, value) for key, value in block.items()]
        elif isinstance(block, list):
            items = [item for item in block if isinstance(item, Mapping)]
            keyed += [(name, item.get("seed"), item) for item in items]
    for name, key, value in keyed:
        seed = _as_seed(key)
        if seed is not None:
            top.take(name)
            yield seed, value if isinstance(value, Mapping) else {"val_bpb": value}


def _spread_figures(top: _ObjectReader, seeds: tuple[int, ...]) -> Iterator[tuple[str, int, float]]:
    """Figures given as a table by seed, or as a list in the order of `seeds`."""
    for figure_name, figure in _SEED_FIGURES.items():
        for name in figure.names:
            value = top.values.get(name)
            if isinstance(value, list) and len(value) == len(seeds):
                pairs = list(zip(seeds, value, strict=True))
            elif isinstance(value, Mapping):
                by_seed = [(_as_seed(key), item) for key, item in value.items()]
                pairs = [(seed, item) for seed, item in by_seed if seed is not None]
            else:
                continue
            for seed, item in pairs:
                number = _as_number(item)
                if number is not None:
                    top.take(name)
                    yield figure_name, seed, number


def _seed_claim(seed: int, figures: Mapping[str, float]) -> SeedClaim:
    artifact_bytes, steps = figures.get("artifact_bytes"), figures.get("steps")
    return SeedClaim(
        seed=seed,
        val_bpb=figures.get("val_bpb"),
        val_loss=figures.get("val_loss"),
        artifact_bytes=None if artifact_bytes is None else int(artifact_bytes),
        train_seconds=figures.get("train_seconds"),
        eval_seconds=figures.get("eval_seconds"),
        steps=None if steps is None else int(steps),
    )
