"""Formats and parses values in command-line syntax."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ch12cli.config.choices import LOADER

# Other spellings of booleans and null, in YAML and Python.
SPELLINGS = {"yes": True, "on": True, "no": False, "off": False, "none": None, "~": None}


MANDATORY = "???"  # OmegaConf's marker of a mandatory value


def shown(value: Any) -> str:
    """Returns a value as typed on the command line; `...` for a mandatory value that is missing."""
    if value == MANDATORY:
        return "..."
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{shown(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(shown, value))}]"  # without spaces, because a shell would split there
    if isinstance(value, str) and value.lower() not in SPELLINGS and not isinstance(read_as(value), str):
        return f"'{value}'"  # a string that YAML would read as another type
    return str(value)


def read_as(text: str) -> Any:
    """Returns the value of an unquoted text; the text itself if it is not valid YAML."""
    try:
        return yaml.load(text, Loader=LOADER) if text else text
    except (yaml.YAMLError, ValueError):
        return text
