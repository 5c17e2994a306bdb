"""Hydra's loader of configuration files, each of which is read once: a sweep's configuration is that of its start."""

from copy import deepcopy
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

# What a data set's file need not say.
PARTED = {"test_size": 0.0, "valid_size": 0.0, "split": "random", "split_seed": 1, "scaling": "none"}


class FrozenRepository(CachingConfigRepository):
    """The files as they were when each was first read; a data set can be parted and scaled, whatever its file says."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        loaded = deepcopy(super().load_config(config_path))  # what composes it changes it
        if loaded is not None and config_path.startswith("dataset/") and "_target_" in loaded.config:
            for name, value in PARTED.items():
                cast(DictConfig, loaded.config).setdefault(name, value)
        return loaded

    def __deepcopy__(self, _memo: dict[int, Any]) -> "FrozenRepository":
        return self


class Loader(ConfigLoaderImpl):
    """Loads configurations for Hydra, its sweepers and launchers. searched: overrides that add folders to search."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path=config_search_path)
        self.repositories: dict[tuple[str | None, ...], FrozenRepository] = {}
        self.searched: list[str] = []

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
        """A group's choices, those in folders below it too: `experiment=glob(book/*)` finds `book/iris`."""
        lines = self.searched if overrides is None else overrides
        names: list[str] = list(super().get_group_options(group_name, results_filter, config_name, lines))
        if results_filter is ObjectType.CONFIG:
            for folder in super().get_group_options(group_name, ObjectType.GROUP, config_name, lines):
                below = self.get_group_options(f"{group_name}/{folder}", results_filter, config_name, overrides)
                names += [f"{folder}/{name}" for name in below]
        return names
