"""Builds and parses the command line that trains a run."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ch12cli.files.history import ancestry_of, changes_in, sessions_in
from ch12cli.files.hydra_folder import read_hydra, read_overrides
from ch12cli.files.run_directory import HYDRA
from ch12cli.shell import override_value, shell_line

TRAIN = ("ch12", "train")
CONFIG_NAME = "config"  # Hydra config name used by default
SEARCH_PATH = "hydra.searchpath"
WITH_VALUE = ("--config-dir", "--config-name")
TOKEN = re.compile(r"""(?:[^\s'"]+|'[^']*'|"[^"]*")+""")  # one word of a command line written by shlex.join


def options_for(folders: Iterable[Path | str], config_name: str, hydra_overrides: Iterable[str]) -> tuple[str, ...]:
    """Returns the options that locate a run's configuration: its folders, its name, Hydra's search path."""
    return (
        *(token for folder in folders for token in ("--config-dir", str(Path(folder).resolve()))),
        *(("--config-name", config_name) if config_name != CONFIG_NAME else ()),
        *(override for override in hydra_overrides if override_key(override) == SEARCH_PATH),
    )


def command_of_run(folder: Path, changed: Iterable[str] = ()) -> str | None:
    """Returns the command that trains a run again; None if its overrides are unknown.

    folder: the run's .hydra; changed: overrides that replace the run's own.
    """
    overrides = read_overrides(folder)
    return None if overrides is None else train_command(replace_overrides(overrides, changed), read_options(folder))


def read_options(folder: Path) -> tuple[str, ...]:
    """Returns the options that a run was composed with, read from hydra.yaml; empty if it is unreadable."""
    hydra = read_hydra(folder)
    try:
        sources = [source for source in hydra["runtime"]["config_sources"] if source["provider"] == "command-line"]
        folders = [str(source["path"]) for source in sources]
        return options_for(folders, str(hydra["job"]["config_name"]), map(str, hydra["overrides"]["hydra"]))
    except (KeyError, TypeError, ValueError):
        return ()


def replace_overrides(overrides: Iterable[str], changed: Iterable[str]) -> list[str]:
    """Returns `overrides` with `changed` replacing the overrides of the same keys."""
    changed = list(changed)
    keys = {override_key(override) for override in changed}
    return [*(override for override in overrides if override_key(override) not in keys), *changed]


def train_command(overrides: Iterable[str], options: Iterable[str] = ()) -> str:
    """Returns the command that trains one run with these overrides. options: see `options_for`."""
    return shell_line([*TRAIN, *options, *overrides])


def override_key(override: str) -> str:
    """Returns the key, or group, of an override."""
    return override.partition("=")[0].lstrip("+~")


def overrides_of(overrides: Iterable[str]) -> dict[str, str]:
    """Returns the values of overrides as typed, by key."""
    parts = [override.partition("=") for override in overrides]
    return {name.lstrip("+~"): value for name, _, value in parts}


def split_command(command: str) -> tuple[list[str], list[str]]:
    """Returns the options and the overrides of a command made by `train_command`."""
    quoted = "'" in command or '"' in command
    tokens = [_unquoted(token) for token in TOKEN.findall(command)] if quoted else command.split()
    start = len(TRAIN)
    while start < len(tokens) and tokens[start] in WITH_VALUE:
        start += 2
    return tokens[len(TRAIN) : start], tokens[start:]


def overrides_in(command: str) -> dict[str, str]:
    """Returns the overrides in a command made by `train_command`, by key."""
    return {key: value for key, value in overrides_of(split_command(command)[1]).items() if key != SEARCH_PATH}


@lru_cache(maxsize=4096)
def _unquoted(token: str) -> str:
    return shlex.split(token)[0] if "'" in token or '"' in token else token


def with_resumed_changes(overrides: Sequence[str], history: Mapping[str, Any]) -> list[str]:
    """Returns a run's overrides updated with the changes of its resumes. history: see files/history.py."""
    changed: dict[str, str] = {}
    for session in sessions_in(history, "resumed"):
        changed |= {key: f"{key}={override_value(value)}" for key, value in changes_in(session).items()}
    return replace_overrides(overrides, changed.values())


def commands_of(directory: Path, history: Mapping[str, Any]) -> list[str]:
    """Returns the command lines that made a run, in order; none if they are unknown.

    history: see files/history.py. The first command trains the run, or forks it; the others resumed it with changes.
    A run of a population is only trained again by `ch12 repro`.
    """
    if ancestry_of(history):  # no command line changes numbers on the way
        return [shell_line(["ch12", "repro", str(directory)])]
    command, parent = command_of_run(directory / HYDRA), history.get("parent")
    if isinstance(parent, Mapping):
        first = [resume_command(str(parent.get("directory")), parent, "--fork")]
    elif command is not None:
        first = [command]
    else:
        return []
    sessions = [session for session in sessions_in(history, "resumed") if changes_in(session)]
    return [*first, *(resume_command(str(directory), session) for session in sessions)]


def resume_command(directory: str, session: Mapping[str, Any], *options: str) -> str:
    """Returns the command that resumes a run as a session of its history did."""
    changes = [f"{key}={override_value(value)}" for key, value in changes_in(session).items()]
    return shell_line(["ch12", "resume", directory, *changes, *options])
