"""Composes a configuration from command-line overrides and reports all mistakes together."""

import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.choices import content, files_that_name, is_readable, require_folders, shipped
from ch12cli.config.hydra_internals import IConfigRepository, apply_override, has_key, make_loader, override_dirname
from ch12cli.config.schema import GROUPS, HYDRA_KEYS, KEYS, STACKED_LAUNCHERS
from ch12cli.config.settings import Template, choices_of, first_lines, plain_job, settings_of
from ch12cli.config.unknown import (
    hydra_problem,
    is_users_own,
    no_such_choice,
    no_such_group,
    no_such_key,
    not_understood,
    override_text,
    paths_of,
    unknown_anywhere,
)
from ch12cli.config.user_modules import import_modules, import_plugins
from ch12cli.config.values import MANDATORY, shown
from ch12cli.data.text_file import list_names
from ch12cli.errors import InputError, Problem
from ch12cli.files.hydra_folder import flatten, put
from ch12cli.files.run_directory import HYDRA
from ch12cli.shell import shell_word
from ch12cli.suggest import suggestion


class Composition(NamedTuple):
    """A composed job.

    config: Hydra's configuration with its `hydra` node; plain: the job's part as plain values; settings: the same with
    interpolations resolved.
    """

    config: DictConfig
    plain: dict[str, Any]
    settings: dict[str, Any]

    @property
    def choices(self) -> dict[str, str | None]:
        """Returns the choice of each group."""
        return choices_of(self.config)

    @property
    def is_sweep(self) -> bool:
        """Returns True if `hydra.mode` is MULTIRUN."""
        return is_multirun(self.config)


# Compositions of ch12's own files in this process, which composes for many runs in a notebook: composing takes Hydra a
# tenth of a second, copying a hundredth. Directories, which differ from run to run, are set on the copy.
COMPOSED: dict[tuple[Any, ...], Template] = {}
MOST_COMPOSED = 64
DIRECTORIES = ("hydra.run.dir=", "hydra.sweep.dir=")
MAX_NESTING = 40  # of mappings and lists in a value: a record of more is not read back
TOO_DEEP = f"is nested more than {MAX_NESTING} levels deep"


def is_multirun(config: DictConfig) -> bool:
    """Returns whether `hydra.mode` is MULTIRUN. Raises InputError if its value is not a mode."""
    try:
        return bool(config.hydra.get("mode") == RunMode.MULTIRUN)
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.mode: {first_lines(error)}") from error


def is_plain_choice(override: Override) -> bool:
    """Returns whether an override is GROUP=CHOICE, with nothing added, deleted or swept."""
    plain = not (override.is_add() or override.is_force_add() or override.is_delete() or override.is_sweep_override())
    return plain and override.package is None and isinstance(override.value(), str)


def is_own_without_defaults(file: ConfigResult) -> bool:
    """Returns whether a file of a group is ch12's own, and brings no defaults."""
    return file.provider == "main" and not file.defaults_list and not file.header["package"]


class Composer:
    """Composes jobs. Hydra reads the files once for each distinct choice of groups; values are set on a copy.

    folders: the user's configuration folders, searched after ch12's.
    several_hint: the hint for an override with several values.
    """

    several_hint = "add -m to train them all"

    def __init__(self, folders: Sequence[Path] = (), *, config_name: str = "config") -> None:
        self.config_name = config_name
        self.folders = tuple(folders)
        require_folders(folders)
        self.loader = make_loader(folders)
        self.parser = OverridesParser.create()
        self.imported: Any = []
        self.parsed: dict[str, Override] = {}
        self.composed: dict[tuple[tuple[str, ...], RunMode], Template] = {}
        self.group_files: dict[tuple[str, str], ConfigResult | None] = {}
        self.repository: IConfigRepository = self.loader.repository
        import_plugins()
        if not self.repository.config_exists(config_name):
            where = ", ".join(map(str, [shipped(), *folders]))
            raise InputError(f"--config-name {config_name}: no such file in {where}; leave it out for ch12's own")

    def parse(self, argv: Iterable[str], problems: list[Problem]) -> list[Override]:
        """Returns the parsed overrides. Appends a problem for each line that cannot be parsed."""
        parsed = []
        for text in argv:
            try:
                override = self.parse_one(text)
                rule = "" if nesting(override.value()) + override.key_or_group.count(".") <= MAX_NESTING else TOO_DEEP
            except HydraException:
                override, rule = None, ""
            except RecursionError:
                override, rule = None, TOO_DEEP
            except ValueError:
                override, rule = None, "holds a number of more digits than can be read"
            if any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes that Python could not decode
                problems.append(
                    Problem.with_override(text, "is not text in UTF-8, or the locale is not", "set LC_ALL=C.UTF-8")
                )
            elif rule:
                problems.append(Problem.with_override(text, rule))
            elif override is None or not override.key_or_group:
                problems.append(not_understood(text))
            else:
                parsed.append(override)
        return parsed

    def parse_one(self, text: str) -> Override:
        """Returns a parsed override. Hydra takes a millisecond for one. Raises as Hydra does."""
        if text not in self.parsed:
            self.parsed[text] = self.parser.parse_override(text)
        return self.parsed[text]

    def use_search_path(self, overrides: Sequence[Override], problems: list[Problem]) -> list[Override]:
        """Adds the folders in hydra.searchpath to the repository and returns the overrides.

        They may also be in the primary configuration file. If a folder is unusable, appends problems and returns the
        overrides without hydra.searchpath.
        """
        search_path = [override_text(override) for override in overrides if override.key_or_group == "hydra.searchpath"]
        if not search_path and self.config_name == "config":  # ch12's own, which adds none
            return list(overrides)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about a missing folder, which is reported below
                repository = self.loader.repository_for(self.config_name, search_path)
            found = [
                Problem("hydra.searchpath", None, f"{source.path}: no such folder, or it cannot be read")
                for source in repository.get_sources()
                if not source.available() or (source.scheme() == "file" and not is_readable(Path(source.path)))
            ]
        except HydraException as error:
            found = [Problem("hydra.searchpath", None, first_lines(error))]
        except (OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, RecursionError):
            return list(overrides)  # composing tells what is wrong with the file
        if found:
            problems += found
            return [override for override in overrides if override.key_or_group != "hydra.searchpath"]
        self.repository = repository
        self.loader.searched = search_path
        return list(overrides)

    def import_modules(self, overrides: Sequence[Override], problems: list[Problem]) -> None:
        """Imports the modules listed in `imports` on the command line or in the primary configuration file.

        Appends a problem for each module that cannot be imported.
        """
        given: list[Any] = [override.value() for override in overrides if override.key_or_group == "imports"]
        names = given[-1] if given else self.imports_in_file
        try:
            # If the value is invalid, nothing is imported here and the check of values reports it.
            import_modules(names if KEYS["imports"].rule.allows(names) else [])
        except InputError as error:
            problems += error.problems
        self.imported = names

    @cached_property
    def imports_in_file(self) -> Any:
        """Returns the value of `imports` in the primary configuration file; an empty list if it cannot be read."""
        try:
            loaded = None if self.config_name == "config" else self.repository.load_config(self.config_name)
            names = OmegaConf.select(cast(DictConfig, loaded.config), "imports") if loaded else None
            return list(names) if isinstance(names, ListConfig) else names or []
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError):
            return []

    def asks_for_sweep(self, argv: Sequence[str]) -> bool:
        """Returns True if `hydra.mode` is MULTIRUN on the command line or in one of the user's configuration files."""
        if not self.folders and not any("hydra.mode" in text or "hydra.searchpath" in text for text in argv):
            return False
        overrides = self.use_search_path(self.parse(argv, []), [])
        self.import_modules(overrides, [])
        group_overrides = [
            o for o in overrides if (self.is_group(o) or o.is_hydra_override()) and not o.is_sweep_override()
        ]
        try:
            return is_multirun(self.base(tuple(map(override_text, group_overrides))))
        except InputError:
            return False  # composing the run reports the error

    def is_group(self, override: Override) -> bool:
        return bool(self.repository.group_exists(override.key_or_group)) and not isinstance(override.value(), dict)

    def choices(self, group: str) -> list[str]:
        """Returns every choice of a group, including those in its subfolders."""
        names = list(self.repository.get_group_options(group, ObjectType.CONFIG))
        for folder in self.repository.get_group_options(group, ObjectType.GROUP):
            names += [f"{folder}/{name}" for name in self.choices(f"{group}/{folder}")]
        return names

    def check_group(self, override: Override) -> Problem | None:
        """Returns the problem with an override that chooses from a group, or None."""
        group, choice, text = override.key_or_group, override.value(), override_text(override)
        if group in GROUPS:
            if override.is_add() or override.is_force_add() or override.package is not None:
                return Problem.with_override(
                    text,
                    f"{group} has a choice already, which is to be replaced",
                    f"write {shell_word(f'{group}={choice}')}",
                )
            if group != "experiment" and (choice is None or override.is_delete() or isinstance(choice, list)):
                rule = "takes one choice, not a list" if isinstance(choice, list) else f"{group} cannot be left out"
                return Problem.with_override(text, rule, f"choose one of {', '.join(self.choices(group))}")
        typed = text.partition("=")[2]
        if isinstance(choice, bool | int | float) and self.repository.config_exists(f"{group}/{typed}"):
            kind = "a boolean" if isinstance(choice, bool) else "a number"
            quoted = shell_word(f'{group}="{typed}"')
            hint = f"rename the file, or write {quoted}"
            return Problem.with_override(text, f"Hydra reads {typed} as {kind}, not as the name of a choice", hint)
        listed = choice if isinstance(choice, list) else [] if choice is None else [choice]
        for name in listed:
            if not self.repository.config_exists(f"{group}/{name}"):
                other = [folder / group / f"{name}.yml" for folder in self.file_folders]
                if found := [file for file in other if file.is_file()]:
                    return Problem.with_override(text, "no such choice", f"rename {found[0]} so that it ends in .yaml")
                return no_such_choice(text, str(name), self.choices(group))
        return None

    def base(self, argv: tuple[str, ...], *, run_mode: RunMode = RunMode.RUN) -> DictConfig:
        """Returns a new configuration for these group choices and Hydra settings.

        Raises InputError if it cannot be composed.
        """
        try:
            return self.load(argv, run_mode)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.not_utf8()}: is not text in UTF-8; save it again as UTF-8") from error
        except RecursionError as error:
            raise InputError(f"{self.config_name}: a configuration file {TOO_DEEP}") from error
        except KeyError as error:
            raise InputError(f"hydra.job.env_copy: the environment has no variable {error}") from error
        except MissingConfigException as error:
            raise InputError(self.missing_default(error, argv) or first_lines(error)) from error
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
            raise InputError(self.unknown_hydra_keys(argv, run_mode) or first_lines(error)) from error

    def missing_default(self, error: MissingConfigException, argv: Sequence[str]) -> list[Problem]:
        """Returns a problem for each file whose defaults list names the file that Hydra does not find.

        Only for those that are chosen, if any of them is.
        """
        missing = error.missing_cfg_file or ""
        group, _, name = missing.rpartition("/")
        known = self.choices(group) if group else []
        hint = suggestion(name, known) or (f"{group} has {list_names(known)}" if known else "")
        found, chosen = files_that_name(missing, self.file_folders), [f"{text.replace('=', '/')}.yaml" for text in argv]
        files = [file for file in found if file in chosen] or found
        return [Problem(file, None, f"its defaults name {missing}, which is not there", hint) for file in files]

    @property
    def file_folders(self) -> list[Path]:
        """The folders in which configuration files are looked for."""
        return [Path(source.path) for source in self.repository.get_sources() if source.scheme() == "file"]

    def unknown_hydra_keys(self, argv: tuple[str, ...], run_mode: RunMode) -> list[Problem]:
        """Returns a problem for each override of a key below `hydra.` that the chosen groups do not have."""
        chosen = tuple(text for text in argv if not text.startswith("hydra."))
        if chosen == argv:
            return []
        try:
            config = self.load_new(chosen, run_mode)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError):
            return []  # something else is wrong
        problems = []
        for text in argv:
            path = text.partition("=")[0]
            if text not in chosen and not has_key(config, path):
                parent = path.rpartition(".")[0]
                node = OmegaConf.select(config, parent)
                names = [str(name) for name in node if name != "_target_"] if isinstance(node, DictConfig) else []
                near = suggestion(path, [f"{parent}.{name}" for name in names] or HYDRA_KEYS)
                listed = f"{parent} has {', '.join(names)}" if names else ""
                problems.append(Problem.with_override(text, "no such key", near or listed))
        return problems

    def load(self, argv: tuple[str, ...], run_mode: RunMode) -> DictConfig:
        """Returns a new configuration for these group choices and Hydra settings, composed by Hydra or a copy.

        Of ch12's own files it may be another composer's: a user's files and modules may have changed since.
        """
        if self.folders or self.imported or any("hydra.searchpath" in text for text in argv):
            return self.load_own(argv, run_mode)
        directories = [text for text in argv if text.startswith(DIRECTORIES)]
        shared = tuple(text for text in argv if text not in directories)
        key = (self.config_name, shared, *self.own_sources)  # of a run as of a sweep
        config = COMPOSED[key].copy() if key in COMPOSED else self.with_other_choices(shared, run_mode)
        if config is None:
            config = self.load_new(shared, run_mode)
            while len(COMPOSED) >= MOST_COMPOSED:
                COMPOSED.pop(next(iter(COMPOSED)))
            COMPOSED[key] = Template(config)
            config = COMPOSED[key].copy()
        if config.hydra.job.env_copy:  # of the environment, which may change
            COMPOSED.pop(key, None)
            return self.load_own(argv, run_mode)
        config.hydra.runtime.cwd = os.getcwd()
        for text in directories:  # what Hydra does with them
            apply_override(self.parse_one(text), config)
        recorded = cast(list[str], OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False))
        config.hydra.overrides.hydra = [text for text in argv if text in {*recorded, *directories}]
        return config

    def load_own(self, argv: tuple[str, ...], run_mode: RunMode) -> DictConfig:
        """Returns a copy of what Hydra composed for this composer."""
        if (argv, run_mode) not in self.composed:
            self.composed[argv, run_mode] = Template(self.load_new(argv, run_mode))
        return self.composed[argv, run_mode].copy()

    @cached_property
    def own_sources(self) -> tuple[Any, ...]:
        """What a composition of ch12's own files depends on beside the overrides."""
        return modified_files(), stored_names()

    def group_file(self, group: str, choice: str) -> ConfigResult | None:
        """Returns the file of a group's choice; None if there is none."""
        if (group, choice) not in self.group_files:
            self.group_files[group, choice] = self.repository.load_config(f"{group}/{choice}")
        return self.group_files[group, choice]

    def with_other_choices(self, argv: tuple[str, ...], run_mode: RunMode) -> DictConfig | None:
        """Returns the composition for some choices of ch12's own groups from the one without them.

        None if there are no such choices, or one brings defaults of its own. Hydra takes forty milliseconds for each
        structure of a sweep, putting other files' content into a copy ten, and the result is the same.
        """
        overrides = list(map(self.parse_one, argv))
        chosen = {one.key_or_group: one for one in overrides if one.key_or_group in GROUPS}
        rest = tuple(text for text, one in zip(argv, overrides, strict=True) if one.key_or_group not in GROUPS)
        is_known = self.config_name == "config" and len(chosen) + len(rest) == len(argv)
        if not chosen or not is_known or "experiment" in chosen or not all(map(is_plain_choice, chosen.values())):
            return None
        loaded = {group: self.group_file(group, str(one.value())) for group, one in chosen.items()}
        files = {group: file for group, file in loaded.items() if file is not None}
        if len(files) < len(loaded) or not all(map(is_own_without_defaults, files.values())):
            return None
        config = self.base(rest, run_mode=run_mode)
        with read_write(config), open_dict(config):
            for group, file in files.items():
                config[group] = file.config
                config.hydra.runtime.choices[group] = chosen[group].value()
        self.record(config, [override for override in overrides if not override.is_hydra_override()])
        return config

    def load_new(self, argv: tuple[str, ...], run_mode: RunMode) -> DictConfig:
        """Returns the configuration for these group choices and Hydra settings, composed by Hydra."""
        return self.loader.load_configuration(
            self.config_name, list(argv), run_mode=run_mode, validate_sweep_overrides=False
        )

    def not_utf8(self) -> str:
        """Returns the paths of the configuration files that are not UTF-8, separated by commas."""
        files = [file for folder in self.file_folders for file in sorted(folder.rglob("*.yaml")) if not is_utf8(file)]
        return ", ".join(map(str, files)) or "a configuration file"

    def compose(self, argv: Sequence[str], problems: list[Problem]) -> Composition:
        """Returns the composition of one job, empty if its files cannot be composed.

        Appends all problems of the job to problems.
        """
        overrides = self.use_search_path(self.parse(argv, problems), problems)
        self.import_modules(overrides, problems)
        group_overrides, values = [], []
        for override in overrides:
            if override.is_sweep_override():
                hint = f"{self.several_hint}, or write a list as 'key=[1,2]'"
                problems.append(Problem.with_override(override_text(override), "several values", hint))
            elif self.is_group(override):
                problem = self.check_group(override)
                problems.append(problem) if problem else group_overrides.append(override)
            elif override.is_hydra_override():
                problem = hydra_problem(override)
                problems.append(problem) if problem else group_overrides.append(override)
            else:
                values.append(override)
        try:
            config = self.base(tuple(map(override_text, group_overrides)))
        except InputError as error:
            problems += error.problems + unknown_anywhere(values)
            return Composition(OmegaConf.create({"hydra": {"runtime": {"choices": {}}}}), {}, {})
        problems += hydra_setting_problems(config)
        wrong = []
        for override in values:
            problem = self.apply(override, config)
            if problem:
                problems.append(problem)
                wrong.append(override)
        problems += self.record(config, [o for o in overrides if not o.is_hydra_override() and o not in wrong])
        plain = plain_job(config)
        settings = settings_of(config, plain, problems)
        given = {key: value for key, _, value in (text.partition("=") for text in argv)}
        for key, value in flatten(settings):
            if value == MANDATORY and given.get(key):
                put(settings, key, given[key])  # its override is not understood, which is reported already
        if settings.get("imports") != self.imported and not problems:
            rule = "is set too late: modules are imported before composition"
            hint = "set it on the command line or in the file that --config-name names"
            problems.append(Problem("imports", shown(settings.get("imports")), rule, hint))
        return Composition(config, plain, settings)

    def sweep_config(self, overrides: Sequence[Override]) -> DictConfig:
        """Returns Hydra's configuration of a sweep, in which swept keys have their defaults.

        Leaves out values that do not fit these defaults: they are those of some jobs. Raises InputError if the files
        cannot be composed.
        """
        fixed = [override for override in overrides if not override.is_sweep_override()]
        chosen = [override for override in fixed if self.is_group(override) or override.is_hydra_override()]
        config = self.base(tuple(map(override_text, chosen)), run_mode=RunMode.MULTIRUN)
        for override in fixed:
            if override not in chosen:
                with suppress(HydraException, OmegaConfBaseException):
                    apply_override(override, config)
        self.record(config, [override for override in overrides if not override.is_hydra_override()])
        return config

    def apply(self, override: Override, config: DictConfig) -> Problem | None:
        """Applies one override to config. Returns the problem with it, or None."""
        key, text = override.key_or_group, override_text(override)
        if override.package is not None or "/" in key:
            return no_such_group(text, key)
        if not (override.is_add() or override.is_force_add()):
            for path in paths_of(override):
                if not has_key(config, path):
                    if is_users_own(path, {}):
                        return Problem.with_override(
                            text, "no such key", f"add a key of your own with {shell_word(f'+{text}')}"
                        )
                    known = [*(name for name, _ in flatten(plain_job(config))), *GROUPS, *HYDRA_KEYS]
                    return no_such_key(text, path, known=known, choices=choices_of(config))
        elif override.is_add() and has_key(config, key):
            return Problem.with_override(text, f"{key} is there already", "leave out the +")
        if override.is_delete() and key.partition(".")[0] in content(shipped() / "config.yaml"):
            return Problem.with_override(text, f"{key} cannot be taken out", "every run needs it")
        try:
            apply_override(override, config)
        except (HydraException, OmegaConfBaseException) as error:
            return Problem.with_override(text, first_lines(error))
        return None

    def record(self, config: DictConfig, overrides: Sequence[Override]) -> list[Problem]:
        """Records the overrides in the hydra node, as Hydra does when it applies them itself.

        Returns a problem for each that cannot be recorded, because OmegaConf reads it as a wrong interpolation.
        """
        problems = [problem for override in overrides if (problem := recording_problem(override))]
        if not problems:
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.overrides.task = [override.input_line for override in overrides]
                config.hydra.job.override_dirname = override_dirname(overrides, config)
        return problems


def recording_problem(override: Override) -> Problem | None:
    """Returns why a list of texts cannot hold an override, or None."""
    text = override_text(override)
    if "${" not in text:
        return None
    try:
        OmegaConf.create([override.input_line])
    except OmegaConfBaseException as error:
        return Problem.with_override(text, first_lines(error), "write an interpolation as ${key} or ${resolver:value}")
    return None


def nesting(value: Any) -> int:
    """Returns how deep mappings and lists are nested in a value. Raises RecursionError for extreme ones."""
    if isinstance(value, ChoiceSweep):
        return max(map(nesting, value.list), default=0)
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(nesting, inner), default=0) if isinstance(value, dict | list) else 0


def hydra_setting_problems(config: DictConfig) -> list[Problem]:
    """Returns the Hydra settings that ch12 does not support, whether set in a file or on the command line."""
    problems, hydra = [], config.hydra
    if hydra.output_subdir != HYDRA:
        rule = f"must be {HYDRA}: a run is shown and resumed by what Hydra writes there"
        problems.append(Problem("hydra.output_subdir", shown(hydra.output_subdir), rule, "leave it out"))
    if hydra.job.chdir and hydra.mode == RunMode.MULTIRUN and hydra.launcher.get("_target_") in STACKED_LAUNCHERS:
        rule = "the jobs of a stack share one process and its current directory"
        problems.append(Problem("hydra.job.chdir", "true", rule, "leave it out, or add hydra/launcher=basic"))
    return problems


def modified_files() -> tuple[tuple[str, int], ...]:
    """Returns ch12's configuration files and the times of their last changes."""
    return tuple((str(file), file.stat().st_mtime_ns) for file in shipped().rglob("*.yaml"))


def stored_names() -> str:
    """Returns the names of all nodes in Hydra's ConfigStore, to which modules of the user's own may add."""

    def names(node: Any) -> Any:
        return {name: names(value) for name, value in node.items()} if isinstance(node, dict) else id(node)

    return repr(names(ConfigStore.instance().repo))


def is_utf8(file: Path) -> bool:
    try:
        file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True


def working_directory() -> Path:
    """Returns the current directory. Raises InputError if it no longer exists."""
    try:
        return Path(os.getcwd())
    except OSError as error:
        raise InputError("the current directory no longer exists; change to another and try again") from error


def format_configuration(
    composer: Composer, argv: Sequence[str], *, part: str, package: str | None, resolve: bool
) -> str:
    """Returns a composed configuration as YAML. Raises InputError if it has problems.

    part: `job`, `hydra` or `all`; package: a dotted key, to format only the keys below it.
    """
    problems: list[Problem] = []
    config: Any = composer.compose(argv, problems).config
    if problems:
        raise InputError(problems)
    if part == "hydra":
        config = OmegaConf.masked_copy(config, ["hydra"])
    elif part == "job":
        config = OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
    header = ""
    if package:
        known = [str(name) for name in config]
        config = OmegaConf.select(config, package)
        if not isinstance(config, DictConfig):
            raise InputError(Problem(f"--package {package}", None, "no such group of keys", suggestion(package, known)))
        header = f"# @package {package}\n"
    try:
        return header + OmegaConf.to_yaml(config, resolve=resolve).rstrip("\n")
    except OmegaConfBaseException as error:
        raise InputError(first_lines(error)) from error
