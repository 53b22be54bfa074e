"""Evidence for tests: whole runs in `evidence/`, and files that say only what they change in one.

    changed_from: probe
    probe.moves.2.in_document_nats: 0.31

What a case shows then stands alone on its lines. Every file goes through the tool's own reader.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from verifier.schemas.run_record_json import Evidence

WHOLE_RUNS = Path(__file__).with_name("evidence")


def whole_run(name: str, changes: Mapping[str, object] | None = None) -> Evidence:
    """The run of that name, its fields changed by dotted path."""
    return _evidence(_changed(_tree(WHOLE_RUNS / f"{name}.yaml"), changes or {}))


def read_evidence(path: Path) -> Evidence:
    return _evidence(_tree(path))


def _evidence(tree: dict) -> Evidence:
    return Evidence.model_validate_json(json.dumps(tree))


@cache
def _tree(path: Path) -> dict:
    """The file's own fields over those of the run beside it, or in `evidence/`, that it names."""
    fields = yaml.safe_load(path.read_text())
    origin = fields.pop("changed_from", None)
    if origin is None:
        return fields
    beside = path.with_name(f"{origin}.yaml")
    return _changed(_tree(beside if beside.exists() else WHOLE_RUNS / beside.name), fields)


def _changed(tree: dict, changes: Mapping[str, object]) -> dict:
    changed = json.loads(json.dumps(tree))  # a copy without what YAML's anchors share
    for place, value in changes.items():
        *parents, last = place.split(".")
        node = changed
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        node[last] = value
    return changed
