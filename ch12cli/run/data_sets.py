"""Data sets of runs: each is read and prepared once within a sweep, and shared with the workers that it forks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ch12cli.config.run_settings import DataSettings
from ch12cli.config.targets import build, less_memory
from ch12cli.errors import InputError, MachineError

if TYPE_CHECKING:
    from ch12cli.data.prepared import Prepared
    from ch12cli.data.table import Table

Made = TypeVar("Made")


@dataclass(frozen=True)
class DataSets:
    """Data sets that were read, by the settings that name them, and those that are refused."""

    tables: dict[str, Any] = field(default_factory=dict)
    prepared: dict[str, Any] = field(default_factory=dict)


READ: ContextVar[DataSets | None] = ContextVar("data sets that were read", default=None)


@contextmanager
def data_read_once() -> Iterator[None]:
    """Keeps what read_data reads within the block, and in processes that are forked there."""
    token = READ.set(READ.get() or DataSets())
    try:
        yield
    finally:
        READ.reset(token)


def read_data(settings: DataSettings) -> Prepared:
    """Returns the data set, split into parts and scaled. Raises InputError if it is refused."""
    from ch12cli.data.prepared import prepare

    known = READ.get() or DataSets()
    source = repr(settings.source)
    try:
        return make_once(
            known.prepared,
            f"{source} {settings.split!r}",
            lambda: prepare(make_once(known.tables, source, lambda: read_table(settings)), **asdict(settings.split)),
        )
    except MemoryError as error:
        hint = less_memory(settings.source.arguments) or "use fewer rows or columns"
        raise MachineError(f"dataset: not enough memory to split and scale it; {hint}") from error


def read_table(settings: DataSettings) -> Table:
    from ch12cli.data.own_datasets import datasets, is_dataset
    from ch12cli.data.streaming.lazy_rows import LazyRows
    from ch12cli.data.table import as_table

    found = build("dataset", settings.source)
    path = settings.source.path
    table = datasets(found, source=path) if is_dataset(found) else as_table(found, path)
    if READ.get() is not None and isinstance(table.features, LazyRows) and table.features.fits:
        table = replace(table, features=table.features[:])  # all runs of a sweep share the rows
    return table


def make_once(known: dict[str, Any], key: str, make: Callable[[], Made]) -> Made:
    """Returns what was made for a key before, or makes it. An InputError is raised again, too."""
    if key not in known:
        try:
            known[key] = make()
        except InputError as error:
            known[key] = error
    if isinstance(known[key], InputError):
        raise known[key]
    found: Made = known[key]
    return found
