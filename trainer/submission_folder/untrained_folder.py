"""A folder whose script nobody has run yet: complete but for logs and scores, and saying so."""

import json

from trainer.submission_folder.folder_request import READABLE_NAME, SCRIPT_NAME, FolderRequest
from trainer.submission_folder.readme import recipe_lines, run_command

TRACK = "non_record_16mb"  # without a score there is no record to claim


def describe_untrained(request: FolderRequest) -> None:
    """Write README.md and submission.json of a submission that was not run; no figure is in them.

    Args:
        request: what is written; its script, contract and requirements are there already.
    """
    record = {
        "author": request.author,
        "github_id": request.github_id,
        "name": request.resolved.name,
        "blurb": f"{request.resolved.what} Not run yet: no score is claimed.",
        "date": request.date,
        "track": TRACK,
        "bytes_code": (request.folder / SCRIPT_NAME).stat().st_size,
    }
    (request.folder / "submission.json").write_text(json.dumps(record, indent=2) + "\n")
    (request.folder / "README.md").write_text(untrained_readme(request), encoding="utf-8")


def untrained_readme(request: FolderRequest) -> str:
    """The content of README.md."""
    seed = request.resolved.recipe.run.seed
    scripts = f"`{SCRIPT_NAME}`"
    if request.is_packed:
        scripts += f" (packed; `{READABLE_NAME}` is the same program with its comments)"
    return "\n".join(
        [
            f"# {request.resolved.name}",
            "",
            request.resolved.what,
            "",
            "**Not run.** No seed of this script was trained, so there is no log, no artifact and "
            "no score;",
            "it claims nothing and stands on the non-record track until somebody runs it:",
            "",
            "```bash",
            run_command(request, seed),
            "```",
            "",
            f"{scripts} holds the whole recipe as literals at its top.",
            *recipe_lines(request.resolved.recipe),
            "",
        ]
    )
