"""The command lines that made a run, for `ch12 show` and `ch12 report`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ch12cli.files.result_json import Result


def commands_of(path: Path, result: Result | None) -> list[str]:
    """The command lines that made a run, in order; none if they are unknown. result: its result.json."""
    from ch12cli.config.values import shown
    from ch12cli.files.command import command_of_run
    from ch12cli.files.history import changes_in, sessions_in
    from ch12cli.files.run_directory import HYDRA

    def resume(directory: Any, one: Mapping[str, Any], *more: str) -> str:
        changes = [f"{key}={shown(value)}" for key, value in changes_in(one).items()]
        return shlex.join(["ch12", "resume", str(directory), *changes, *more])

    history = result.history if result else {}
    command, parent = command_of_run(path / HYDRA), history.get("parent")
    if isinstance(parent, Mapping):
        first = [resume(parent.get("directory"), parent, "--fork")]
    else:
        first = [] if command is None else [command]
    return first + [resume(path, one) for one in sessions_in(history, "resumed") if changes_in(one)] if first else []
