"""Reads the configuration files on disk without Hydra: groups, choices, their descriptions and keys."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import ch12cli
from ch12cli.config.schema import GROUPS
from ch12cli.errors import InputError, MachineError
from ch12cli.files.hydra_folder import flatten

PRESET = re.compile(r"^\s*#\s*@package\s+_global_", re.MULTILINE)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's loader, if PyYAML was built with it


class Choice(NamedTuple):
    """One choice of a group. name: as typed; meaning: the file's first comment line; file: its path."""

    group: str
    name: str
    meaning: str
    file: Path


@cache
def shipped() -> Path:
    """Returns the folder of ch12's configuration: inside an installed wheel, or beside the package in a checkout."""
    package = Path(ch12cli.__file__).resolve().parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def first_comment(text: str) -> str:
    """Returns the first comment line of a YAML text, without its full stop; empty if there is none.

    Directives such as `# @package` are skipped.
    """
    for line in text.splitlines():
        if line.startswith("#") and not line.startswith("# @"):
            return line.lstrip("# ").strip().removesuffix(".")
        if line.strip() and not line.startswith("#"):
            break
    return ""


def require_folders(folders: Sequence[Path]) -> None:
    """Raises InputError if a folder given with --config-dir does not exist."""
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--config-dir {folder}: no such folder; give one that holds groups such as optimizer/")
        if not is_readable(folder):
            raise MachineError(f"--config-dir {folder}: cannot be read; you have no permission")


def is_readable(folder: Path) -> bool:
    """Returns whether the files in a folder can be listed and opened. Hydra passes over a folder that is locked."""
    return os.access(folder, os.R_OK | os.X_OK)


def choices_of_group(group: str, folders: Sequence[Path] = ()) -> list[Choice]:
    """Returns all choices of a group: ch12's own first, then those of the given configuration folders."""
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
    """Returns the choice with this name, or None."""
    return next((choice for choice in choices_of_group(group, folders) if choice.name == name), None)


@cache
def text_of(file: Path) -> str:
    """Returns a configuration file's text; empty if it cannot be read, because composition reports that error."""
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


@cache
def content(file: Path) -> dict[str, Any]:
    """Returns a configuration file as plain values; empty if it is not a mapping or cannot be read."""
    try:
        node = yaml.load(text_of(file), Loader=LOADER)
    except (yaml.YAMLError, ValueError):  # ValueError: an invalid date
        return {}
    return node if isinstance(node, dict) else {}


def forget() -> None:
    """Clears the file caches. Files may change between two runs in one notebook."""
    for cached in (_choices, text_of, content):
        cached.cache_clear()


def is_alias(choice: Choice) -> bool:
    """Returns True if a choice only has the keys of another choice of its group, of which it is a further name."""
    return not is_preset(choice) and set(content(choice.file)) == {"defaults"} and len(files_of_choice(choice)) == 2


def comments(choice: Choice) -> dict[str, str]:
    """Returns the comments beside a choice's keys, by dotted key without the group. Keys without one are omitted."""
    found: dict[str, str] = {}
    for file in files_of_choice(choice):
        found |= comments_in(file)
    return found


def comments_in(file: Path) -> dict[str, str]:
    """Returns the comment after each key's value, by dotted key in the file. Keys without a comment are omitted."""
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
    """Returns the dotted keys of `config.yaml` with their defaults, without `defaults` and `hydra`."""
    node = content(shipped() / "config.yaml")
    return dict(flatten({name: value for name, value in node.items() if name not in ("defaults", "hydra")}))


def default_choices() -> dict[str, str | None]:
    """Returns the default choice of each group."""
    listed: dict[str, str | None] = {}
    for entry in content(shipped() / "config.yaml")["defaults"]:
        if isinstance(entry, Mapping):
            listed.update({name: value for name, value in entry.items() if name in GROUPS})
    return listed


def keys_of_choice(choice: Choice) -> dict[str, Any]:
    """Returns the dotted keys that a choice sets, with their values.

    Keys begin with the group's name, except those of a preset, which are top-level.
    """
    found: dict[str, Any] = {}
    for file in files_of_choice(choice):
        node = {name: value for name, value in content(file).items() if name != "defaults"}
        found |= flatten(node, "" if is_preset(choice) else f"{choice.group}.")
    return found


def files_of_choice(choice: Choice) -> list[Path]:
    """Returns the files whose keys a choice has: those that its defaults list names in the same group, and its own."""
    found: list[Path] = []

    def add(file: Path) -> None:
        if file in found:
            return
        found.append(file)
        listed = content(file).get("defaults")
        for name in listed if isinstance(listed, list) else ():
            if isinstance(name, str) and name != "_self_":
                beside = file.with_name(f"{name}.yaml")
                base = None if beside.is_file() else find_choice(choice.group, name)
                if beside.is_file() or base:
                    add(base.file if base else beside)

    add(choice.file)
    return found[::-1]


def files_that_name(missing: str, folders: Sequence[Path]) -> list[str]:
    """Returns the files in these folders whose defaults lists name a file that is not there, such as `optimizer/own`.

    Hydra names the file that is composed, which may be another one than that with the list.
    """
    found = []
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            listed = content(file).get("defaults")
            names: list[str] = []
            for entry in listed if isinstance(listed, list) else ():
                for key, choice in entry.items() if isinstance(entry, Mapping) else [("", entry)]:
                    group = str(key).rpartition(" ")[2].partition("@")[0]  # without `override` and the package
                    texts = choice if isinstance(choice, list) else [choice]
                    names += [f"{group}/{text}" if group else str(text) for text in texts]
            beside = file.parent.relative_to(folder)
            if missing in {name[1:] if name.startswith("/") else (beside / name).as_posix() for name in names}:
                found.append(file.relative_to(folder).as_posix())
    return found


def is_preset(choice: Choice) -> bool:
    """Returns True if the choice's keys are top-level keys of the configuration."""
    return PRESET.search(text_of(choice.file)) is not None


def chosen_by(choice: Choice) -> dict[str, str]:
    """Returns the choice of each group that a preset overrides with `override /group: choice`."""
    listed = content(choice.file).get("defaults")
    entries = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    made = {str(name): str(value) for entry in entries for name, value in entry.items()}
    return {name.removeprefix("override /"): value for name, value in made.items() if name.startswith("override /")}


def known_keys(folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Returns every dotted key of `config.yaml` and of all choices, with the first default found for it."""
    known = top_level()
    for group in GROUPS:
        if group != "experiment":
            for choice in choices_of_group(group, folders):
                for key, value in keys_of_choice(choice).items():
                    known.setdefault(key, value)
    return known
