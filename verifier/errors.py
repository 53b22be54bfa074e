"""What stops the verifier itself. A breach of the rules is a Finding, never one of these.

PgolfError                     one line, safe to show: what, where, how to mend
├── UsageError                 exit 2: the command cannot mean anything
├── SubmissionUnreadableError  exit 2: the folder is not a submission
└── HarnessError               exit 4: we could not do our job
    ├── RulebookError          a rule, track, profile or ledger does not load
    ├── SandboxUnavailableError  no sandbox can start here
    ├── DataError              the track's data is missing or not what its hashes say
    └── RunDirectoryError      a run directory is locked, foreign or torn
"""


class PgolfError(Exception):
    """One line that may be shown to a user as it is."""

    exit_code = 4


def as_told(error: Exception) -> PgolfError:
    """Any error as one of ours: a disk that refuses, or else a fault of this program.

    One that is ours already is handed back.
    """
    if isinstance(error, PgolfError):
        return error
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return HarnessError(f"{where}{error.strerror or error}; mend that, or name another place")
    return HarnessError(
        f"a fault of pgolf-verify itself, please report it: {type(error).__name__}: {error} "
        "(-v shows where)"
    )


class UsageError(PgolfError):
    """The command line names something that does not exist or contradicts itself."""

    exit_code = 2


class SubmissionUnreadableError(PgolfError):
    """The path holds no submission: missing, empty, or not a folder of files."""

    exit_code = 2


class HarnessError(PgolfError):
    """The harness could not do its job; says nothing about the submission."""


class RulebookError(HarnessError):
    """A rule, track, profile or ledger file is missing or malformed."""


class SandboxUnavailableError(HarnessError):
    """No sandbox that enforces the plan's limits can be started on this host."""


class DataError(HarnessError):
    """The track's data is missing or does not match its pinned hashes."""


class RunDirectoryError(HarnessError):
    """A run directory is locked by another process, belongs to another plan, or is torn."""
