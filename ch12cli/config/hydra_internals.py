"""Wraps every private interface of Hydra and OmegaConf that ch12 uses, each with its reason.

No other module uses one. This module's tests fail if a new version of Hydra or OmegaConf changes one of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import version
from hydra._internal.callbacks import Callbacks as Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_repository import IConfigRepository as IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.defaults_list import DefaultsList as DefaultsList
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from ch12cli.config.choices import forget, shipped
from ch12cli.config.run_settings import SPLIT_DEFAULTS
from ch12cli.config.schema import GROUPS
from ch12cli.errors import InputError

HEADER = 512  # bytes in which Hydra looks for a header

# Import path of Hydra's default sweeper, the only one whose jobs are known before it runs.
BASIC_SWEEPER = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"

# Singletons that Hydra fills once in a process and never changes: plugins, configuration sources, its schema.
KEPT_SINGLETONS: tuple[type, ...] = (Plugins, SourcesRegistry, ConfigStore)


@contextmanager
def hydra_session() -> Iterator[None]:
    """Sets up Hydra's global state for ch12, and restores the caller's objects on exit.

    Private: the singletons and the resolvers. Hydra can clear them but cannot restore them. A notebook or program that
    uses Hydra itself must not lose its own. Callers of Hydra's compose API would need no session.
    """
    before, resolvers = Singleton._instances, BaseContainer._resolvers
    Singleton._instances = {kind: before[kind] for kind in KEPT_SINGLETONS if kind in before}
    BaseContainer._resolvers = dict(resolvers)
    forget()  # discard files cached by an earlier session
    try:
        version.setbase("1.3")
        setup_globals()
        Plugins.instance()  # discovers configuration sources, sweepers and launchers
        JobRuntime.instance().set("name", "train")
        yield
    finally:
        found = {kind: Singleton._instances[kind] for kind in KEPT_SINGLETONS if kind in Singleton._instances}
        Singleton._instances = {**found, **before}
        BaseContainer._resolvers = resolvers


# The resolvers that each imported user module registered.
REGISTERED: dict[str, dict[str, Any]] = {}


@contextmanager
def resolvers_kept(module: str) -> Iterator[None]:
    """Keeps the resolvers that a module registers when it is imported in this context, for later sessions.

    Private: the resolvers. A session removes those registered in it, and Python imports a module only once.
    """
    before = set(BaseContainer._resolvers)
    for name, resolver in REGISTERED.get(module, {}).items():
        BaseContainer._resolvers.setdefault(name, resolver)
    yield
    new = {name: BaseContainer._resolvers[name] for name in set(BaseContainer._resolvers) - before}
    REGISTERED.setdefault(module, {}).update(new)


def header_after_mark(file: Path) -> dict[str, str | None]:
    """Returns the header of a configuration file that begins with a byte order mark; without one, no package.

    Private: the function that reads a header. Hydra does not find a header behind the mark.
    """
    try:
        text = file.read_bytes()[:HEADER].decode("utf-8", "ignore") if file.is_file() else ""
    except OSError:
        text = ""
    return ConfigSource._get_header_dict(text[1:] if text.startswith("\ufeff") else "")


NO_KEYS = "must hold keys, as KEY: VALUE, not a list or a single value"


def refuse_package(file: str, package: str | None) -> None:
    """Raises InputError for an experiment whose keys would not be those of the run."""
    if package is None or (package != "_global_" and package.strip("_").lower() in ("global", "group")):
        has = "has none" if package is None else f"is # @package {package}"
        raise InputError(f"{file}: its first line must be `# @package _global_`, and it {has}; write it there")


def refuse_without_keys(file: str, loaded: ConfigResult) -> None:
    """Raises InputError for a configuration file that holds a list or a text in place of keys."""
    path = Path(loaded.path.removeprefix("file://")) / file
    node = OmegaConf.to_container(loaded.config, resolve=False)
    may_be_text = not isinstance(node, dict) or list(node.values()) == [None]
    if may_be_text and path.is_file() and not isinstance(yaml.safe_load(path.read_text("utf-8-sig")), Mapping):
        raise InputError(f"{file}: {NO_KEYS}")


class FrozenRepository(CachingConfigRepository):
    """Repository that caches each configuration file when first read, and adds the split keys to data sets.

    Private: the repository. Hydra rereads the files for each job, but a sweep must not change while it runs.
    """

    def load_config(self, config_path: str) -> ConfigResult | None:
        try:
            loaded = deepcopy(super().load_config(config_path))  # composition modifies it
        except OSError as error:
            if "Invalid loaded object type" not in str(error):
                raise
            raise InputError(f"{config_path}.yaml: {NO_KEYS}") from None
        if loaded is not None and config_path.partition("/")[0] in (*GROUPS, config_path):
            refuse_without_keys(f"{config_path}.yaml", loaded)
        if loaded is not None and loaded.header.get("package") is None:
            loaded.header = header_after_mark(Path(loaded.path.removeprefix("file://")) / f"{config_path}.yaml")
        if loaded is not None and loaded.config and config_path.startswith("experiment/"):
            refuse_package(f"{config_path}.yaml", loaded.header["package"])
        if loaded is not None and config_path.startswith("dataset/") and "_target_" in loaded.config:
            if OmegaConf.get_type(loaded.config) is not dict:  # a dataclass, which accepts no further keys
                loaded.config = OmegaConf.create(OmegaConf.to_container(loaded.config, resolve=False))
            for name, value in SPLIT_DEFAULTS.items():
                cast(DictConfig, loaded.config).setdefault(name, value)
        return loaded

    def __deepcopy__(self, _memo: dict[int, Any]) -> "FrozenRepository":
        return self


class ConfigLoader(ConfigLoaderImpl):
    """Loads configurations for Hydra, its sweepers and its launchers. searched: overrides that add search folders.

    Private: the loader. Hydra has no public way to replace how it reads files.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path=config_search_path)
        self.repositories: dict[tuple[str | None, ...], FrozenRepository] = {}
        self.searched: list[str] = []

    def repository_for(self, config_name: str, overrides: Sequence[str]) -> IConfigRepository:
        """Returns the repository with the folders that `hydra.searchpath` adds in a file or in these overrides."""
        return self._parse_overrides_and_create_caching_repo(config_name, list(overrides))[1]

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        searched = [override.input_line for override in parsed if override.key_or_group == "hydra.searchpath"]
        key = (config_name, *searched)
        if key not in self.repositories:
            repository = FrozenRepository(self.repository)
            self._process_config_searchpath(config_name, parsed, repository)
            self.repositories[key] = repository
        return parsed, CachingConfigRepository(self.repositories[key])

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Returns a group's choices, including subfolders, so that `experiment=glob(book/*)` finds `book/iris`."""
        lines = self.searched if overrides is None else overrides
        names: list[str] = list(super().get_group_options(group_name, results_filter, config_name, lines))
        if results_filter is ObjectType.CONFIG:
            for folder in super().get_group_options(group_name, ObjectType.GROUP, config_name, lines):
                below = self.get_group_options(f"{group_name}/{folder}", results_filter, config_name, overrides)
                names += [f"{folder}/{name}" for name in below]
        return names


def make_loader(folders: Sequence[Path]) -> ConfigLoader:
    """Returns a loader of ch12's configuration and the user's folders, which are searched after ch12's.

    Private: the search path's class. Hydra's public functions accept only one folder or an existing search path.
    """
    search_path = ConfigSearchPathImpl()
    search_path.append("hydra", "pkg://hydra.conf")
    search_path.append("main", f"file://{shipped()}")
    for folder in folders:
        search_path.append("command-line", f"file://{folder.resolve()}")
    search_path.append("schema", "structured://")
    return ConfigLoader(config_search_path=search_path)


def apply_override(override: Override, config: DictConfig) -> None:
    """Sets, adds or deletes one value in a composed configuration, exactly as Hydra does.

    Private: a static method of the loader. Composing each job of a sweep from files takes seventy times as long.
    """
    ConfigLoaderImpl._apply_overrides_to_config([override], config)


def override_dirname(overrides: Sequence[Override], config: DictConfig) -> str:
    """Returns `hydra.job.override_dirname` for these overrides.

    Private: Hydra computes it only during composition.
    """
    names = config.hydra.job.config.override_dirname
    return str(
        get_overrides_dirname(
            overrides=[override for override in overrides if override.input_line],
            kv_sep=names.kv_sep,
            item_sep=names.item_sep,
            exclude_keys=names.exclude_keys,
        )
    )


def cached(repository: IConfigRepository) -> CachingConfigRepository:
    """Returns a repository that reads each file once. Private: the repository, as in FrozenRepository."""
    return CachingConfigRepository(repository)


def defaults_list(repository: CachingConfigRepository, config_name: str, overrides: list[Override]) -> DefaultsList:
    """Returns the files of a configuration in order of precedence, with the origin of each choice.

    Private: Hydra only prints the list (`--info defaults`), without the override that made a choice.
    """
    return create_defaults_list(
        repo=repository,
        config_name=config_name,
        overrides_list=overrides,
        prepend_hydra=True,
        skip_missing=False,
    )


def has_key(config: DictConfig, key: str) -> bool:
    """Returns True if the dotted key is in the configuration, whatever its value.

    Private: OmegaConf's `_get_node`. `in` is False for a mandatory key (`???`) or one whose interpolation fails.
    """
    node: Any = config
    for part in key.split("."):
        node = node._get_node(part, validate_access=False) if isinstance(node, DictConfig) else None
        if node is None:
            return False
    return True


def split_into_jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """Returns the overrides of each job of a sweep, as Hydra's basic sweeper combines them.

    An override replaces an earlier one of its key, unless another override between them sets, adds or removes that key
    or a mapping around it. Raises HydraException if they cannot be combined.
    """
    combined: list[tuple[Override, list[str]]] = []
    for override in overrides:
        same = [n for n, (other, _) in enumerate(combined) if other.get_key_element() == override.get_key_element()]
        replaced = same[-1] if same else len(combined)
        between = [other for other, _ in combined[replaced + 1 :] if sets_around(other, override)]
        if isinstance(override.value(), dict) or between:
            replaced = len(combined)
        combined[replaced : replaced + 1] = [(override, texts_of(override))]
    return [list(job) for job in product(*(texts for _, texts in combined))]


def sets_around(other: Override, override: Override) -> bool:
    """Returns True if another override sets, adds or removes the key of an override or a mapping around it."""
    return f"{override.key_or_group}.".startswith(f"{other.key_or_group}.")


def texts_of(override: Override) -> list[str]:
    """Returns the texts of an override, one for each of its values if it is swept.

    The texts are Hydra's, unless Hydra would escape an interpolation, or read its own text as another value than the
    one that was typed.
    """
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    if "${" in str(override.input_line):
        return [str(override.input_line)]
    text = f"{key}={override.get_value_element_as_str()}"
    same = repr(OverridesParser.create().parse_override(text).value()) == repr(override.value())
    return [text if same else str(override.input_line)]


def with_number(override: Override, text: str, number: int | float) -> Override:
    """Returns an override like another, which has a number too, of the same key with another number.

    Private: the field of the value. Hydra takes a millisecond to parse an override, and a search draws thousands.
    """
    return replace(override, _value=number, input_line=text)


def make_basic_sweeper_use(sweeper: Sweeper, split: Callable[[Sequence[Override]], list[list[str]]]) -> None:
    """Makes Hydra's basic sweeper combine overrides by `split`; does nothing to another sweeper.

    Private: the method. The jobs checked before the sweep must be the jobs that the sweeper creates.
    """
    kind = type(sweeper)  # not compared as a class: Hydra's plugin manager imports the module a second time
    if f"{kind.__module__}.{kind.__qualname__}" == BASIC_SWEEPER:

        def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
            return list(BasicSweeper.split_overrides_to_chunks(split(overrides), max_batch_size))

        cast(BasicSweeper, sweeper).split_arguments = split_arguments  # type: ignore[method-assign]
