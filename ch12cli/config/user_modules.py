"""Imports the user's modules before composition, so that they can register resolvers and ConfigStore entries.

The key `imports` lists them, on the command line or in the primary configuration file. An installed package lists them
as entry points in the group `ch12.plugins`. The `imports` of a saved run are untrusted data and never imported.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from ch12cli.config.hydra_internals import resolvers_kept
from ch12cli.config.targets import current_directory_last
from ch12cli.errors import InputError, Problem, describe_error, location_of

ENTRY_POINTS = "ch12.plugins"


@cache  # reading what is installed takes 10 ms
def plugins() -> tuple[str, ...]:
    """Returns the modules that installed packages list as entry points."""
    return tuple(entry.module for entry in entry_points(group=ENTRY_POINTS))


def import_plugins() -> None:
    """Imports the entry points of installed packages. Raises InputError if one cannot be imported."""
    import_modules(plugins(), key=f"entry point of {ENTRY_POINTS}")


def import_modules(names: Sequence[str], *, key: str = "imports") -> None:
    """Imports modules by name from `sys.path` or the current directory. Raises InputError with all failures."""
    problems = [problem for name in names if (problem := import_problem(name, key)) is not None]
    if problems:
        raise InputError(problems)


def import_problem(name: str, key: str) -> Problem | None:
    """Imports one module. Returns the problem if it fails, else None."""
    hint = "start ch12 in its folder, or add that folder to PYTHONPATH"
    try:
        with current_directory_last(), resolvers_kept(name):
            import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return Problem(key, name, "there is no such module", hint)
        return Problem(key, name, f"importing it failed: {describe_error(error)}{location_of(error)}")
    except (Exception, SystemExit) as error:
        return Problem(key, name, f"importing it failed: {describe_error(error)}{location_of(error)}")
    return None
