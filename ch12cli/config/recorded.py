"""The configuration of a run out of its .hydra folder, read as data: for one killed before its first checkpoint."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.choices import flatten
from ch12cli.config.settings import first_lines
from ch12cli.errors import InputError
from ch12cli.runs.files import read_file

LARGEST = 2**20  # bytes of a configuration's file
DEEPEST = 50  # of its mappings and lists inside each other
WRITTEN_LAST = "overrides.yaml"  # where it is, the others are whole
SECTION = re.compile(r"^[^\s#].*\n(?:[ -].*\n|\n)*", re.MULTILINE)  # a key at the top and what belongs to it
CHOICES = re.compile(r"^    choices:\n((?:      .*\n)*)", re.MULTILINE)  # in hydra.yaml
LATER = {"logger": "csv"}  # keys that came later, and what runs without them did
LATER_OF_SWEEP = {"compile": False}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NAMES_A_KEY = re.compile(r"\$\{([\w.]+)\}")  # all that a text may ask for: a resolver (`${oc.env:…}`) could do more


def read_recorded(folder: Path) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Settings and choices as Hydra wrote them. InputError if they are not whole, or cannot be read as data."""
    if not (folder / WRITTEN_LAST).is_file():
        raise InputError(
            f"{folder.parent}: was killed before it had begun and holds nothing; remove it and train the run again"
        )
    config, hydra = _read(folder / "config.yaml"), _read(folder / "hydra.yaml")
    try:
        if not only_values(config, config):
            raise InputError(f"{folder}: config.yaml holds more than values; train the run again from its command line")
        settings = OmegaConf.to_container(OmegaConf.create(config), resolve=True, throw_on_missing=True)
        choices = hydra["hydra"]["runtime"]["choices"]
        chosen = {str(group): choice if choice is None else str(choice) for group, choice in choices.items()}
    except OmegaConfBaseException as error:
        raise InputError(f"{folder}: cannot be read: {first_lines(error)}") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{folder}: is not such as Hydra makes it; train the run again") from error
    assert isinstance(settings, dict)
    return {str(name): value for name, value in settings.items()}, chosen


def with_later_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run of an earlier version, which had not all keys, as that version meant them."""
    sweep = settings.get("sweep")
    return {**LATER, **settings, **({"sweep": {**LATER_OF_SWEEP, **sweep}} if isinstance(sweep, Mapping) else {})}


def only_values(node: Any, config: Mapping[str, Any]) -> bool:
    """Whether each text in a part of config is plain, or as a whole the name of a single value: `${monitor}`."""
    if isinstance(node, Mapping):
        return all(only_values(inner, config) for pair in node.items() for inner in pair)
    if isinstance(node, list | tuple | set):
        return all(only_values(inner, config) for inner in node)
    if not isinstance(node, str | bytes) or "${" not in str(node):
        return True
    named = NAMES_A_KEY.fullmatch(str(node))
    found: Any = config
    for part in named[1].split(".") if named else ():
        found = found.get(part) if isinstance(found, Mapping) else None
    return named is not None and not isinstance(found, Mapping | list)  # of which few lines make gigabytes


def is_bounded(text: str) -> bool:
    """Whether a YAML text makes no more than it is: no aliases, of which few lines make gigabytes, and nothing deep."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
            return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: is too large for a run's configuration")
        text = read_file(path).decode("utf-8")
        if not is_bounded(text):
            raise InputError(f"{path}: holds aliases, or too deep lists; train the run again from its command line")
        content = yaml.load(text, Loader=LOADER)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: is not such as Hydra makes it; train the run again")
    return dict(content)


def read_lines(folder: Path) -> list[str] | None:
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
