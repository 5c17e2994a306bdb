"""Values as they are typed on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ch12cli.config.choices import LOADER

SPELLINGS = {"yes": True, "on": True, "no": False, "off": False, "none": None, "~": None}  # YAML's others, and Python's


MANDATORY = "???"  # what a file holds for a value that must be given


def shown(value: Any) -> str:
    """A value as it is typed on the command line; ... for one that must be given."""
    if value == MANDATORY:
        return "..."
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{shown(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(shown, value))}]"  # without blanks, at which a shell would cut it
    if isinstance(value, str) and value.lower() not in SPELLINGS and not isinstance(read_as(value), str):
        return f"'{value}'"  # text, though it looks like a number
    return str(value)


def read_as(text: str) -> Any:
    """What text means where it is not quoted."""
    try:
        return yaml.load(text, Loader=LOADER) if text else text
    except (yaml.YAMLError, ValueError):
        return text
