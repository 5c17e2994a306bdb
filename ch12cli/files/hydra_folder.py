"""Reads and writes the `.hydra` folder of a run: its configuration and overrides as YAML."""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ch12cli.files.atomic import read_file
from ch12cli.files.compact.run_files import read_run_file

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's dumper is 40 times as fast as the Python one
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PLAIN = re.compile(r"(?=.*[/=])[A-Za-z/][A-Za-z0-9_./=,-]*")  # texts that YAML writes unchanged
LARGEST = 2**20  # maximum size of a configuration file, in bytes
DEEPEST = 50  # maximum nesting of mappings and lists
WRITTEN_LAST = "overrides.yaml"  # if it exists, the other files are complete
SECTION = re.compile(r"^[^\s#].*\n(?:[ -].*\n|\n)*", re.MULTILINE)  # a top-level key and its content
CHOICES = re.compile(r"^    choices:\n((?:      .*\n)*)", re.MULTILINE)  # in hydra.yaml
COMMON_ONLY = "# the settings in which all networks agree\n"  # begins the config.yaml of an ensemble
COMMON = ("dataset", "loss", "model", "precision")  # what all have alike; earlier ones recorded their first network's
NAMES_A_KEY = re.compile(r"\$\{([\w.]+)\}")  # no resolvers: `${oc.env:…}` would read the environment


def to_yaml(node: Any) -> str:
    return str(yaml.dump(node, Dumper=DUMPER, default_flow_style=False, sort_keys=False, allow_unicode=True))


NUMBERS = yaml.representer.SafeRepresenter()


def number_to_yaml(value: int | float) -> str:
    """Returns a number as YAML."""
    return str(NUMBERS.represent_data(value).value)


def text_to_yaml(text: str) -> str:
    """Returns a text as YAML. Most texts are unchanged."""
    return text if PLAIN.fullmatch(text) else to_yaml(text).removesuffix("...\n").strip()


def is_bounded(text: str) -> bool:
    """Returns whether a YAML text is safe to load: no aliases, which can expand to gigabytes, and no deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            return False
    return True


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and the value of each leaf. An empty mapping is a leaf."""
    for name, value in node.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def value_at(node: Mapping[str, Any], path: str) -> Any:
    """Returns the value of a dotted key in nested settings. The key must exist."""
    value: Any = node
    for name in path.split("."):
        value = value[name]
    return value


def put(node: MutableMapping[str, Any], path: str, value: Any) -> None:
    """Sets a dotted key in place. Its parent mappings must exist."""
    *heads, last = path.split(".")
    for name in heads:
        node = node[name]
    node[last] = value


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values by dotted key as nested mappings."""
    found: dict[str, Any] = {}
    for key, value in leaves.items():
        *heads, last = key.split(".")
        node = found
        for head in heads:
            node = node.setdefault(head, {})
        node[last] = value
    return found


def by_section(changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns changed dotted keys with their values, by their top-level key."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        sections.setdefault(key.partition(".")[0], {})[key] = value
    return sections


def with_changes(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of nested settings with some dotted keys changed."""
    copy = _copy(settings)
    for key, value in changes.items():
        _set(copy, key, value)
    return copy


def _copy(node: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of nested plain settings. It is faster than deepcopy, which handles arbitrary objects."""
    return {
        key: _copy(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value
        for key, value in node.items()
    }


def _set(settings: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        settings = settings[parent]
    settings[last] = value


def read_hydra(folder: Path) -> Mapping[str, Any]:
    """Returns the content of hydra.yaml; an empty mapping if it is missing, unsafe to load or damaged."""
    try:
        return hydra_in(read_run_file(folder / "hydra.yaml").decode())
    except (OSError, ValueError):
        return {}


def hydra_in(text: str) -> Mapping[str, Any]:
    """Returns the content of a hydra.yaml; an empty mapping if it is unsafe to load or damaged."""
    try:
        content = yaml.load(text, Loader=LOADER) if len(text) < LARGEST and is_bounded(text) else None
        hydra = content["hydra"] if isinstance(content, Mapping) else None
    except (ValueError, KeyError, RecursionError, yaml.YAMLError):
        return {}
    return hydra if isinstance(hydra, Mapping) else {}


def read_multirun(sweep: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Returns the sweeper's settings and the overrides of a sweep, as its newest command had them; empty if unknown."""
    try:
        hydra = hydra_in(read_file(sweep / "multirun.yaml").decode())
        sweeper, lines = hydra["sweeper"], hydra["overrides"]["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, []
    if not isinstance(sweeper, Mapping) or not isinstance(lines, list):
        return {}, []
    return sweeper, [str(line) for line in lines]


def read_overrides(folder: Path) -> list[str] | None:
    """Returns the overrides of a run as typed; None if they cannot be read."""
    try:
        text = read_run_file(folder / WRITTEN_LAST).decode()
        lines = yaml.load(text, Loader=LOADER) if is_bounded(text) else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return [str(line) for line in lines] if isinstance(lines, list) else None


def read_keys(folder: Path) -> dict[str, Any]:
    """Returns a run's choices and settings by dotted key; leaves out what cannot be read.

    Choices are texts; None where none is chosen. Fast enough for thousands of runs, because equal sections are parsed
    once. An interpolation of one key is resolved. An ensemble has the keys in which all of its networks agree, as far
    as that is recorded.
    """
    try:
        config, hydra = (read_run_file(folder / name).decode() for name in ("config.yaml", "hydra.yaml"))
    except (OSError, ValueError):
        return {}
    section = CHOICES.search(hydra)
    lines = (line.partition(":") for line in section[1].splitlines()) if section else ()
    chosen = {name.strip(): value.strip() for name, _, value in lines}
    keys: dict[str, Any] = {name: None if value == "null" else value for name, value in chosen.items()}
    for section in SECTION.findall(config):
        keys |= _section(section)
    for name, value in keys.items():
        if isinstance(value, str) and (named := NAMES_A_KEY.fullmatch(value)):
            keys[name] = keys.get(named[1], value)
    if is_ensemble(keys) and not config.startswith(COMMON_ONLY):
        return {name: value for name, value in keys.items() if name.partition(".")[0] in COMMON}
    return keys


def is_ensemble(keys: Mapping[str, Any]) -> bool:
    """Returns whether a run with these choices and settings is an average of networks, and was not trained itself."""
    return keys.get("model") == "ensemble" and isinstance(keys.get("model.members"), list)


@lru_cache(maxsize=4096)
def _section(text: str) -> Mapping[str, Any]:
    """Returns the keys in one section of a configuration file."""
    try:
        content = yaml.load(text, Loader=LOADER) if len(text) < LARGEST and is_bounded(text) else None
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return dict(flatten(content)) if isinstance(content, Mapping) else {}
