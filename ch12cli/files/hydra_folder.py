"""The `.hydra` folder of a run: its configuration and overrides as YAML, written and read as data."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ch12cli.files.atomic import read_file

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's writes forty times as fast as the one in Python
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PLAIN = re.compile(r"(?=.*[/=])[A-Za-z/][A-Za-z0-9_./=,-]*")  # texts that YAML has as they are
LARGEST = 2**20  # bytes of a configuration's file
DEEPEST = 50  # of its mappings and lists inside each other
WRITTEN_LAST = "overrides.yaml"  # where it is, the others are whole
SECTION = re.compile(r"^[^\s#].*\n(?:[ -].*\n|\n)*", re.MULTILINE)  # a key at the top and what belongs to it
CHOICES = re.compile(r"^    choices:\n((?:      .*\n)*)", re.MULTILINE)  # in hydra.yaml
NAMES_A_KEY = re.compile(r"\$\{([\w.]+)\}")  # all that a text may ask for: a resolver (`${oc.env:…}`) could do more


def to_yaml(node: Any) -> str:
    return str(yaml.dump(node, Dumper=DUMPER, default_flow_style=False, sort_keys=False, allow_unicode=True))


def text_to_yaml(text: str) -> str:
    """A text as YAML; most are the same."""
    return text if PLAIN.fullmatch(text) else to_yaml(text).removesuffix("...\n").strip()


def is_bounded(text: str) -> bool:
    """Whether a YAML text makes no more than it is: no aliases, of which few lines make gigabytes, and nothing deep."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            return False
    return True


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of all leaves; an empty mapping is a leaf."""
    for name, value in node.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def read_hydra(folder: Path) -> Mapping[str, Any]:
    """The content of hydra.yaml; an empty mapping if it is missing, or more than a plain configuration."""
    try:
        text = read_file(folder / "hydra.yaml").decode()
        content = yaml.load(text, Loader=LOADER) if len(text) < LARGEST and is_bounded(text) else None
        hydra = content["hydra"] if isinstance(content, Mapping) else None
    except (OSError, ValueError, KeyError, RecursionError, yaml.YAMLError):
        return {}
    return hydra if isinstance(hydra, Mapping) else {}


def read_overrides(folder: Path) -> list[str] | None:
    """The overrides that a run was given, as they were typed; None if they are not known."""
    try:
        text = read_file(folder / WRITTEN_LAST).decode()
        lines = yaml.load(text, Loader=LOADER) if is_bounded(text) else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return [str(line) for line in lines] if isinstance(lines, list) else None


def read_keys(folder: Path) -> dict[str, Any]:
    """A run's choices and settings by dotted keys, as texts have them; none of those that cannot be read as values.

    For a look at thousands of runs: sections that they share are read once. What names another key is that one's value,
    as in the run's checkpoints, and in config.yaml after a resume.
    """
    try:
        config, hydra = (read_file(folder / name).decode() for name in ("config.yaml", "hydra.yaml"))
    except (OSError, ValueError):
        return {}
    chosen = CHOICES.search(hydra)
    lines = (line.partition(":") for line in chosen[1].splitlines()) if chosen else ()
    keys: dict[str, Any] = {name.strip(): value.strip() for name, _, value in lines}
    for section in SECTION.findall(config):
        keys |= _section(section)
    for name, value in keys.items():
        if isinstance(value, str) and (named := NAMES_A_KEY.fullmatch(value)):
            keys[name] = keys.get(named[1], value)
    return keys


@lru_cache(maxsize=4096)
def _section(text: str) -> Mapping[str, Any]:
    """The keys of a part of a configuration's file."""
    try:
        content = yaml.load(text, Loader=LOADER) if len(text) < LARGEST and is_bounded(text) else None
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return dict(flatten(content)) if isinstance(content, Mapping) else {}
