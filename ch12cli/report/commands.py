"""The command lines that made a run, for `ch12 show` and `ch12 report`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ch12cli.files.result_json import Result


def commands_of(path: Path, result: Result | None) -> list[str]:
    """The command lines that made a run, in order; none if they are not known. result: its result.json."""
    from ch12cli.config.values import shown
    from ch12cli.files.history import changes_in, listed
    from ch12cli.files.hydra_folder import read_lines
    from ch12cli.files.run_directory import HYDRA

    def resume(directory: Any, one: Mapping[str, Any], *more: str) -> str:
        changes = [f"{key}={shown(value)}" for key, value in changes_in(one).items()]
        return shlex.join(["ch12", "resume", str(directory), *changes, *more])

    history = result.history if result else {}
    words, parent = read_lines(path / HYDRA), history.get("parent")
    if isinstance(parent, Mapping):
        first = [resume(parent.get("directory"), parent, "--fork")]
    else:
        first = [] if words is None else [shlex.join(["ch12", "train", *words])]
    return first + [resume(path, one) for one in listed(history, "resumed") if changes_in(one)] if first else []
