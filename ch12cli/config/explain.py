"""Traces configuration values to the files and command-line overrides that set them, in order."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from ch12cli.config.check import check
from ch12cli.config.choices import Choice, keys_of_choice, shipped
from ch12cli.config.compose import Composer, Composition
from ch12cli.config.hydra_internals import DefaultsList, cached, defaults_list
from ch12cli.config.schema import key_of
from ch12cli.config.values import MANDATORY, shown
from ch12cli.errors import InputError, Problem
from ch12cli.files.command import options_for

# What stands in an example for a key that must be given.
EXAMPLES = {"dataset.file": "x.csv", "dataset.folder": "folder", "dataset.train": "{_target_: my.module.MyDataset}"}
DATA_SETS = ("two_class", "toy_regression", "image_folder")  # of an example that the default one does not suit

TAKEN_OUT = "nothing"  # shown as the value of a key deleted by an override such as ~optimizer.lr


class Setting(NamedTuple):
    """One source that sets a key. text: the value as typed; source: a file or a command-line override."""

    text: str
    source: str


class Traced:
    """A composed job with the source of each value. Raises InputError with all problems of the overrides."""

    def __init__(self, composer: Composer, argv: Sequence[str]) -> None:
        problems: list[Problem] = []
        for override in composer.parse(argv, []):
            if override.is_sweep_override():
                problems.append(
                    Problem.with_override(
                        str(override.input_line), "several values", "give one of them, to explain one run"
                    )
                )
        if problems:
            raise InputError(problems)
        self.composition: Composition = composer.compose(argv, problems)
        if problems:
            raise InputError(list(dict.fromkeys(problems)))
        self.composer = composer
        self.overrides = composer.parse(argv, problems)
        self.repository = cached(composer.repository)
        group_overrides = [o for o in self.overrides if o.is_hydra_override() or composer.is_group(o)]
        self.values = [o for o in self.overrides if not composer.is_group(o)]
        self.defaults: DefaultsList = defaults_list(self.repository, composer.config_name, group_overrides)

    @property
    def folders(self) -> list[Path]:
        """Returns the configuration folders from --config-dir and hydra.searchpath, without ch12's own."""
        folders = [Path(source.path) for source in self.repository.get_sources() if source.scheme() == "file"]
        return [folder for folder in folders if folder != shipped()]

    def settings(self, key: str) -> list[Setting]:
        """Returns all sources that set a dotted key, in order of precedence: the last one wins."""
        found = [self.in_file(entry, key) for entry in self.defaults.defaults]
        found += [in_override(override, key) for override in self.values]
        return [setting for setting in found if setting is not None]

    def in_file(self, entry: ResultDefault, key: str) -> Setting | None:
        """Returns the setting of a key in one file of the defaults list, or None."""
        package = f"{entry.package}." if entry.package else ""
        if not key.startswith(package) or entry.config_path is None:
            return None
        loaded = self.repository.load_config(entry.config_path)
        if loaded is None:
            return None
        node = OmegaConf.to_container(loaded.config, resolve=False)
        value = look_up(node, key.removeprefix(package))
        is_stem = isinstance(value, Mapping) and value and key_of(key) is None
        if value is ABSENT or value == "???" or is_stem:  # ???: mandatory, set by another file
            return None
        return Setting(shown(value), self.source_of(entry))

    def value(self, key: str) -> tuple[Any] | None:
        """Returns the resolved value of a key as a tuple of one, or None if there is no such key."""
        value = look_up(self.composition.settings, key)
        return None if value is ABSENT else (value,)

    def choice(self, group: str) -> Setting:
        """Returns the choice of a group, `null` if there is none, and its source."""
        choice = shown(self.composition.choices.get(group))
        made = self.defaults.overrides.override_metadata.get(group)
        if made is None:
            return Setting(choice, self.path_of(self.primary))
        if made.external_override:
            line = next(o.input_line for o in reversed(self.overrides) if o.get_key_element().lstrip("+") == group)
            return Setting(choice, f"{line} on the command line")
        by = next(e for e in self.defaults.defaults if e.config_path == made.containing_config_path)
        return Setting(choice, self.source_of(by))

    def example(self, choice: Choice, path: str | None = None) -> list[str]:
        """Returns the words of a command that trains a run with a choice, and with a key of it.

        They hold what must be given, and the choice of a data set that suits them.
        """
        values = keys_of_choice(choice)
        needed = [key for key, value in values.items() if value == MANDATORY or key == path]
        given = {key: shown(values[key]) if values[key] != MANDATORY else EXAMPLES.get(key, "...") for key in needed}
        words = [f"{choice.group}={choice.name}", *(f"{key}={value}" for key, value in given.items())]
        own = not choice.file.is_relative_to(shipped())
        options = options_for(self.composer.folders, self.composer.config_name, []) if own else ()
        others = [f"dataset={name}" for name in DATA_SETS if choice.group != "dataset"]
        fitting = (found for found in (words, *([other, *words] for other in others)) if self.can_be_trained(found))
        return ["ch12", "train", *options, *next(fitting, words)]

    def can_be_trained(self, overrides: Sequence[str]) -> bool:
        """Returns whether nothing is wrong with the configuration of a run, as far as that shows without its data."""
        problems: list[Problem] = []
        composition = self.composer.compose(overrides, problems)
        return not (problems or check(composition.settings, composition.choices, check_device=False))

    @property
    def primary(self) -> str:
        """Returns Hydra's name for the primary configuration file."""
        return next(entry.config_path or "" for entry in self.defaults.defaults if entry.primary)

    def source_of(self, entry: ResultDefault) -> str:
        """Returns the path of a file in the defaults list, followed by the choice that selected it in parentheses."""
        via = f" ({entry.override_key}={choice_of(entry)})" if entry.override_key else ""
        return f"{self.path_of(entry.config_path or '')}{via}"

    def path_of(self, config_path: str) -> str:
        loaded = self.repository.load_config(config_path)
        return file_of(loaded.path, config_path) if loaded else config_path


class Absent:
    """Marks a missing value where None is a valid one."""


ABSENT = Absent()


def look_up(node: Any, key: str) -> Any:
    """Returns the value of a dotted key, or ABSENT if there is none."""
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return ABSENT
        node = node[part]
    return node


def in_override(override: Override, key: str) -> Setting | None:
    """Returns the setting of a key in one command-line override, or None. An override may set a mapping of keys."""
    path = override.key_or_group
    inside = key == path or key.startswith(f"{path}.")
    if not inside:
        return None
    source = f"{override.input_line} on the command line"
    if override.is_delete():
        return Setting(TAKEN_OUT, source)
    value = override.value() if key == path else look_up(override.value(), key.removeprefix(f"{path}."))
    return None if value is ABSENT else Setting(shown(value), source)


def choice_of(entry: ResultDefault) -> str:
    """Returns the name of the choice that a file of the defaults list provides."""
    group = (entry.override_key or "").partition("@")[0]
    return (entry.config_path or "").removeprefix(f"{group}/")


def file_of(source: str, config_path: str) -> str:
    """Returns a readable path of a configuration file.

    source: Hydra's search path entry, such as file:///folder or pkg://package.
    """
    scheme, _, path = source.partition("://")
    if scheme == "structured":
        return "Hydra's own defaults"
    if scheme != "file":
        return f"{source}/{config_path}.yaml"
    return file_shown(Path(path) / f"{config_path.removesuffix('.yaml')}.yaml")


def file_shown(file: Path) -> str:
    """Returns a path as `conf/…` for a shipped file, relative below the current directory, else absolute."""
    for folder, name in ((shipped(), "conf"), (Path(os.getcwd()), "")):
        if file.is_relative_to(folder):
            return str(name / file.relative_to(folder))
    return str(file)
