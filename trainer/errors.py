"""What stops the trainer.

TrainerError         exit 4: one line, safe to show: what, where, how to mend
├── RecipeError      exit 2: the recipe or a setting cannot mean anything
├── DataError        exit 2: data or tokenizer are missing, damaged, or do not fit together
├── FolderError      exit 2: the submission's folder cannot be written where it should go
├── LaunchError      exit 4: a training process could not be started or died
├── StoppedError     exit 130: Ctrl-C, as shells count it
└── PausedError      exit 75: the time given to this command is over; the next one goes on
"""


class TrainerError(Exception):
    """One line that may be shown to a user as it is."""

    exit_code = 4


class RecipeError(TrainerError):
    """A recipe or a setting is missing, malformed or contradicts itself."""

    exit_code = 2


class DataError(TrainerError):
    """Data or tokenizer are missing, damaged, or do not fit together."""

    exit_code = 2


class FolderError(TrainerError):
    """The submission's folder cannot be written where it should go."""

    exit_code = 2


class LaunchError(TrainerError):
    """A training process could not be started, or died."""


class StoppedError(TrainerError):
    """The user said stop."""

    exit_code = 130


class PausedError(TrainerError):
    """The time that was given to this command is over; what it did is kept for the next one."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again
