"""Hydra's global state: set up for ch12, and put back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra import version
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from omegaconf.basecontainer import BaseContainer

from ch12cli.config.choices import forget

# What Hydra finds out once in a program and never changes: plugins, where configuration comes from, its own schema.
KEPT: tuple[type, ...] = (Plugins, SourcesRegistry, ConfigStore)


@contextmanager
def hydra_session() -> Iterator[None]:
    """Within it Hydra's globals are ch12's; afterwards a notebook or program has its own again, the same objects."""
    before, resolvers = Singleton._instances, BaseContainer._resolvers
    Singleton._instances = {kind: before[kind] for kind in KEPT if kind in before}
    BaseContainer._resolvers = dict(resolvers)
    forget()  # files that an earlier session read
    try:
        version.setbase("1.3")
        setup_globals()
        Plugins.instance()  # finds the sources of configuration, sweepers and launchers
        JobRuntime.instance().set("name", "train")
        yield
    finally:
        found = {kind: Singleton._instances[kind] for kind in KEPT if kind in Singleton._instances}
        Singleton._instances = {**found, **before}
        BaseContainer._resolvers = resolvers
