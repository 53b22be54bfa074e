"""pgolf.yaml: the optional contract of a folder that splits training from evaluation.

Its author is a stranger, so it is read tolerantly and within limits.
"""

from collections.abc import Mapping

import yaml

MAX_CONTRACT_CHARACTERS = 16_000


def read_contract(text: str) -> Mapping[str, object] | None:
    """The contract's top level; None where it is broken, too long or too deep.

    Every scalar stays the text that it is: YAML's own idea of numbers (base 60 among them) can
    turn a short text into an integer of any size.
    """
    if len(text) > MAX_CONTRACT_CHARACTERS:
        return None
    try:
        document = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    return {str(key): value for key, value in document.items()}


class _PlainLoader(yaml.BaseLoader):
    """Text, lists and tables alone; no aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)
