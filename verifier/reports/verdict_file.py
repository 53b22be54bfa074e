"""The report as data: `verdict.json`, one line of `--format json`, and the schema of both."""

import json

from verifier.schemas.verdict_json import VerdictFile


def render_json(verdict: VerdictFile) -> str:
    """One object on one line, all of it ASCII: what a stranger wrote acts on no terminal."""
    return json.dumps(verdict.model_dump(mode="json")) + "\n"


def json_schema() -> str:
    """The JSON Schema (2020-12) that every verdict validates against."""
    return json.dumps(VerdictFile.model_json_schema(mode="serialization"), indent=2) + "\n"
