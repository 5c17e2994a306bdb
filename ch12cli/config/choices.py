"""The configuration files as they lie on disk: groups, their choices, a line about each, the keys. No Hydra."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import ch12cli
from ch12cli.config.schema import GROUPS
from ch12cli.errors import InputError
from ch12cli.files.hydra_folder import flatten

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it


class Choice(NamedTuple):
    """One choice of a group. name: as it is typed; meaning: the file's first comment line; file: where it is."""

    group: str
    name: str
    meaning: str
    file: Path


@cache
def shipped() -> Path:
    """The folder of ch12's own configuration: inside an installed wheel, or beside the package in a checkout."""
    package = Path(ch12cli.__file__).resolve().parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def first_comment(text: str) -> str:
    """The first comment line of a YAML file, without its full stop; a directive such as `# @package` is none."""
    for line in text.splitlines():
        if line.startswith("#") and not line.startswith("# @"):
            return line.lstrip("# ").strip().removesuffix(".")
        if line.strip() and not line.startswith("#"):
            break
    return ""


def require_folders(folders: Sequence[Path]) -> None:
    """InputError if a folder given with --config-dir is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--config-dir {folder}: no such folder; give one that holds groups such as optimizer/")


def choices(group: str, folders: Sequence[Path] = ()) -> list[Choice]:
    """All choices of a group, ch12's own first, then those of the given configuration folders."""
    return list(_choices(group, tuple(folder.absolute() for folder in folders)))


@cache
def _choices(group: str, folders: tuple[Path, ...]) -> tuple[Choice, ...]:
    found: dict[str, Choice] = {}
    for folder in (shipped(), *folders):
        root = folder / group
        for file in sorted(file for file in root.rglob("*.yaml") if file.is_file()):
            name = file.relative_to(root).with_suffix("").as_posix()
            found.setdefault(name, Choice(group, name, first_comment(text_of(file)), file))
    return tuple(found.values())


def find_choice(group: str, name: str, folders: Sequence[Path] = ()) -> Choice | None:
    """The choice of that name, or None."""
    return next((choice for choice in choices(group, folders) if choice.name == name), None)


@cache
def text_of(file: Path) -> str:
    """A configuration file's text; empty if it cannot be read, which is for composing it to complain about."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@cache
def content(file: Path) -> dict[str, Any]:
    """What a configuration file says, as plain values; empty if it is no mapping or cannot be read."""
    try:
        node = yaml.load(text_of(file), Loader=LOADER)
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
        return {}
    return node if isinstance(node, dict) else {}


def forget() -> None:
    """Makes files be read anew, where they may have changed since: between two runs of one notebook."""
    for cached in (_choices, text_of, content):
        cached.cache_clear()


def comments(file: Path) -> dict[str, str]:
    """The comment behind each key's value, by dotted key as it stands in the file; only keys that have one."""
    text = text_of(file)
    try:
        root = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError:
        return {}
    return dict(_comments(root, text.splitlines(), "")) if isinstance(root, yaml.MappingNode) else {}


def _comments(node: yaml.MappingNode, lines: Sequence[str], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in node.value:
        if isinstance(value, yaml.MappingNode):
            yield from _comments(value, lines, f"{prefix}{name.value}.")
        elif value.end_mark.line < len(lines):
            rest = lines[value.end_mark.line][value.end_mark.column :].lstrip()
            if rest.startswith("#"):
                yield f"{prefix}{name.value}", rest.lstrip("# ").strip()


def top_level() -> dict[str, Any]:
    """Dotted keys at the top of ch12's configuration and their defaults."""
    node = content(shipped() / "config.yaml")
    return dict(flatten({name: value for name, value in node.items() if name not in ("defaults", "hydra")}))


def default_choices() -> dict[str, str | None]:
    """The choice that each group has unless told otherwise."""
    listed: dict[str, str | None] = {}
    for entry in content(shipped() / "config.yaml")["defaults"]:
        if isinstance(entry, Mapping):
            listed.update({name: value for name, value in entry.items() if name in GROUPS})
    return listed


def keys_of_choice(choice: Choice) -> dict[str, Any]:
    """Dotted keys that a choice sets, under its group's name (a preset's are at the top), with their values."""
    node = {name: value for name, value in content(choice.file).items() if name != "defaults"}
    return dict(flatten(node, "" if is_preset(choice) else f"{choice.group}."))


def is_preset(choice: Choice) -> bool:
    """True if the choice's keys stand at the top of the configuration."""
    return "@package _global_" in text_of(choice.file)


def chosen_by(choice: Choice) -> dict[str, str]:
    """The choices of groups that a preset makes: its `override /group: choice`."""
    listed = content(choice.file).get("defaults")
    entries = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    made = {str(name): str(value) for entry in entries for name, value in entry.items()}
    return {name.removeprefix("override /"): value for name, value in made.items() if name.startswith("override /")}


def known_keys(folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Every dotted key that some choice or the top level has, with the first default found for it."""
    known = top_level()
    for group in GROUPS:
        if group != "experiment":
            for choice in choices(group, folders):
                for key, value in keys_of_choice(choice).items():
                    known.setdefault(key, value)
    return known
