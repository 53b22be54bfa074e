"""What a run takes on a world of its own instead of the track's data: short budgets, one seed."""

import contextlib
import math
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from verifier.errors import DataError, UsageError
from verifier.floor.world import World, WorldSize, draw_world, write_world
from verifier.intake.submission import Submission
from verifier.rulebook import Rulebook
from verifier.runs.launch import choose_dataset, readme_command
from verifier.runs.plan import PlanOptions
from verifier.schemas.base import Quantity
from verifier.schemas.track_yaml import DatasetFamily, Track

_DEFAULT_VOCABULARY = re.compile(r"[\"']VOCAB_SIZE[\"']\s*,\s*[\"']?(\d{2,6})\b")
_SIDECAR = re.compile(r"fineweb_val_bytes|([\"'])val_bytes\1")
"""The file that tells the bytes of validation tokens, as #1729 names it."""
_TABLE = re.compile(r"environ\.get\(\s*[\"']([A-Z0-9_]*BUCKETS)[\"']\s*,\s*[\"']?(\d[\d_]{3,11})\b")
"""A variable of the script for how many buckets its counts are hashed into, and its default."""
MIN_TABLE = 2**16
"""Smaller ones are of weights, which training fills."""
MIN_BUCKETS = 1_024
MAX_DIGITS = 12
_NAMED_VOCABULARY = re.compile(r"_(?:sp|byte)(\d{2,6})\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorInputs:
    """A run's inputs and the world that they lead to."""

    rulebook: Rulebook
    options: PlanOptions
    world: World


@contextlib.contextmanager
def floor_inputs(
    submission: Submission, rulebook: Rulebook, options: PlanOptions, minutes: float | None
) -> Iterator[FloorInputs]:
    """Draw a world, keep its files as long as they are needed, and cut the budgets.

    Args:
        submission: names the vocabulary, in its run command or its script.
        rulebook: the track's.
        options: the user's word; --data has no place here.
        minutes: of training; None for the track's own.

    Raises:
        UsageError: --data is given, or the vocabulary is too small or too large.
        DataError: the disk refuses.
    """
    if options.data is not None:
        raise UsageError("--data: on the rung 'floor' the data are drawn anew; leave it out")
    track = rulebook.track
    minutes = minutes or track.floor.train_minutes.value
    world = draw_world(_size(vocabulary(submission, rulebook.track, options), track))
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)  # under landlock the script runs as another user
        try:
            write_world(world, Path(name), with_sidecar=_reads_a_sidecar(submission))
        except OSError as error:
            raise DataError(f"{name}: {error.strerror}; make room there or set TMPDIR") from error
        settings = {
            "VOCAB_SIZE": str(world.record.vocab_size),
            "MAX_WALLCLOCK_SECONDS": f"{60 * minutes:g}",
        }
        yield FloorInputs(
            rulebook=replace(rulebook, track=_small_track(track, world, minutes)),
            options=replace(
                options,
                num_seeds=options.num_seeds or 1,
                data=Path(name),
                environment=track.floor.environment
                | settings
                | smaller_tables(submission, track)
                | options.environment,
            ),
            world=world,
        )


def vocabulary(submission: Submission, track: Track, options: PlanOptions) -> int:
    """How many pieces the tokenizer is to have: the user's word, else what the submission names.

    Its run command is asked first, then the dataset that this names, then the script's default.

    Raises:
        UsageError: the user's word is no number.
    """
    asked = options.environment.get("VOCAB_SIZE")
    if asked is not None:
        if (number := _whole(asked)) is None:
            raise UsageError(f"--env VOCAB_SIZE={asked}: give a whole number, such as 1024")
        return number
    command = readme_command(submission) if submission.script else None
    number = _whole((command.environment if command else {}).get("VOCAB_SIZE", ""))
    if number is not None:
        return number
    script = submission.script.text if submission.script else None
    named = _NAMED_VOCABULARY.search(choose_dataset(submission)) if submission.script else None
    found = named or _DEFAULT_VOCABULARY.search(script or "")
    return int(found[1]) if found else int(track.floor.vocab_size.value)


def smaller_tables(submission: Submission, track: Track) -> dict[str, str]:
    """Settings by which tables of hashed counts end as full as they do on the real data.

    A table of four million buckets is overfull after the 62 million tokens of the validation set,
    and what is read from it then is mass that belongs to no word; after a tape of 122,880 it is
    empty, and as good as exact. A script that obeys the four conditions does so with any size.
    """
    command = readme_command(submission) if submission.script else None
    given = command.environment if command else {}
    real_tokens = max((f.scored_tokens for f in track.dataset.families), default=0)
    share = track.floor.validation_tokens.value / max(real_tokens, 1)
    tables = {}
    for script in submission.scripts:
        for name, default in _TABLE.findall(script.text or ""):
            size = _whole(given.get(name, default).replace("_", "")) or 0
            if size >= MIN_TABLE and share < 1:
                buckets = 2 ** round(math.log2(size * share))
                tables[name] = str(max(buckets, MIN_BUCKETS))
    return tables


def _whole(words: str) -> int | None:
    """The whole number that a stranger wrote, unless nothing has so many of anything."""
    return int(words) if words.isdecimal() and len(words) <= MAX_DIGITS else None


def _reads_a_sidecar(submission: Submission) -> bool:
    """Whether it knows of one; to scripts that do not, it would be a shard of tokens."""
    return any(_SIDECAR.search(script.text or "") for script in submission.scripts)


def _size(vocab_size: int, track: Track) -> WorldSize:
    floor = track.floor
    return WorldSize(
        source=floor.source,
        vocab_size=vocab_size,
        document_tokens=int(floor.document_tokens.value),
        training_tokens=int(floor.training_tokens.value),
        num_targets=int(floor.validation_tokens.value),
    )


def _small_track(track: Track, world: World, minutes: float) -> Track:
    """The track with the world for its data, one process and a wall behind the short budget."""
    seconds = 60 * minutes + track.floor.other_seconds.value
    wall = Quantity(value=seconds, unit="s", source="a floor run's minutes and all else")
    family = DatasetFamily(
        tokenizer="floor",
        scored_tokens=world.record.num_targets,
        scored_bytes=world.record.num_bytes,
        source="drawn for this run",
    )
    families = (*track.dataset.families, family)
    dataset = track.dataset.model_copy(update={"pins": (), "families": families})
    return track.model_copy(
        update={
            "limits": track.limits.model_copy(update={"hard_wall_seconds": wall}),
            "dataset": dataset,
            "launch": track.launch.model_copy(update={"num_processes": 1}),
        }
    )
