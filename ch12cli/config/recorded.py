"""Reads the configuration of a run from its .hydra folder as untrusted data.

A run killed before its first checkpoint is resumed from this configuration.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.schema import STACKED_LAUNCHERS
from ch12cli.config.settings import first_lines
from ch12cli.config.untrusted_settings import EVERY_USE, PATH_KEYS, Use, commands_of_launcher, untrusted_problems
from ch12cli.errors import InputError, Problem, reason_of
from ch12cli.files.atomic import read_file
from ch12cli.files.hydra_folder import LARGEST, LOADER, NAMES_A_KEY, WRITTEN_LAST, hydra_in, is_bounded, with_changes
from ch12cli.files.plan_json import WITHDRAWN, PlanFile, read_plan
from ch12cli.files.run_directory import HYDRA
from ch12cli.files.unfinished.search_json import read_search
from ch12cli.shell import shell_line

# Keys added later, with the values that match earlier behaviour.
WRONG_FORM = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError)
LATER: dict[str, Any] = {
    "logger": "csv",
    "imports": [],
    "metrics": None,
    "devices": 1,
    "shards": None,
    "record_norms": False,
}
LATER_OF_SWEEP = {"fused": "auto", "record": "directories", "pbt": None}


def read_recorded(folder: Path) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Returns the settings and choices that Hydra wrote.

    Raises InputError if the files are incomplete, or hold more than plain values.
    """
    if not (folder / WRITTEN_LAST).is_file():
        raise InputError(
            f"{folder.parent}: was killed before it started and holds nothing; remove it and train the run again"
        )
    config, hydra = _read(folder / "config.yaml"), _read(folder / "hydra.yaml")
    try:
        if not only_values(config, config):
            raise InputError(f"{folder}: config.yaml holds more than values; train the run again from its command line")
        settings = OmegaConf.to_container(OmegaConf.create(config), resolve=True, throw_on_missing=True)
        choices = hydra["hydra"]["runtime"]["choices"]
        choices = {str(group): choice if choice is None else str(choice) for group, choice in choices.items()}
    except OmegaConfBaseException as error:
        raise InputError(f"{folder}: cannot be read: {first_lines(error)}") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{folder}: was not written by Hydra, or is corrupt; train the run again") from error
    assert isinstance(settings, dict)
    return {str(name): value for name, value in settings.items()}, choices


def needs_trust(directory: Path, uses: Use = EVERY_USE) -> bool:
    """Returns whether a command that makes these uses of a run or sweep asks for --trust. False if it is unreadable."""
    try:
        return any(untrusted_problems(settings, uses=uses) for settings in _recorded_settings(directory))
    except (InputError, *WRONG_FORM):
        return False


def _recorded_settings(directory: Path) -> list[dict[str, Any]]:
    """Returns the settings of a run, or those of a sweep's jobs that differ in more than numbers."""
    plan = read_plan(directory)
    if not plan.jobs:
        return [read_recorded(directory / HYDRA)[0]]
    found = {}
    for job in plan.jobs:
        texts = {key: value for key, value in job.changes.items() if type(value) not in (int, float)}
        if (key := f"{job.base} {texts!r}") not in found:
            found[key] = with_changes(plan.bases[job.base].settings, texts)
    return list(found.values())


def data_left_behind(dataset: Any, directory: Path) -> list[Problem]:
    """Returns a problem for each relative path of a recorded data set that leads nowhere here, but did where it began.

    directory: of the run or sweep.
    """
    problems = []
    for key in PATH_KEYS:
        value = dataset.get(key) if isinstance(dataset, Mapping) else None
        if isinstance(value, str) and "\0" not in value and not glob(value) and not os.path.lexists(value):
            began = began_in(directory)
            if began and os.path.realpath(began) != os.path.realpath(".") and glob(os.path.join(began, value)):
                rule = f"does not exist here, but in {began}, where this was started"
                problems.append(Problem(f"dataset.{key}", value, rule, "run the command there"))
    return problems


def began_in(directory: Path) -> str:
    """Returns the current directory of the command that began a run or a sweep; empty if that is not recorded."""
    with suppress(InputError, *WRONG_FORM):
        if (directory / HYDRA / WRITTEN_LAST).is_file():
            return str(hydra_in(read_file(directory / HYDRA / "hydra.yaml").decode("utf-8"))["runtime"]["cwd"])
        for sweep in (directory, *directory.parents):
            if (plan := read_plan(sweep)).bases:
                return str(hydra_in(plan.bases[0].template)["runtime"]["cwd"])
    return ""


def resume_line(directory: Path) -> str:
    """Returns the command that continues a run or sweep, as a shell's command line, with --trust if it needs that.

    Of a search that has not ended this is its own command, which draws its further trials too.
    """
    if (search := read_search(directory)) is not None:
        return search.line(directory)
    trust = needs_trust(directory) or runs_commands(directory)
    return shell_line(["ch12", "resume", str(directory), *(["--trust"] if trust else [])])


def runs_commands(directory: Path) -> bool:
    """Returns whether a resume would run commands that the sweep's launcher names. False if it is unreadable."""
    try:
        return bool(commands_of_launcher(launcher_of(read_plan(directory))))
    except (InputError, *WRONG_FORM):
        return False


def launcher_of(plan: PlanFile) -> Mapping[str, Any]:
    """Returns the options of the launcher that a sweep was started with; the default one if it was not ch12's own."""
    launcher = hydra_in(plan.bases[0].template).get("launcher") if plan.bases else None
    is_own = isinstance(launcher, Mapping) and launcher.get("_target_") in STACKED_LAUNCHERS
    return launcher if is_own and isinstance(launcher, Mapping) else {"_target_": STACKED_LAUNCHERS[0]}


def with_later_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an earlier version's settings with the keys of this version: new keys added, withdrawn keys dropped."""
    sweep = settings.get("sweep")
    if isinstance(sweep, Mapping):
        kept = {key: value for key, value in sweep.items() if f"sweep.{key}" not in WITHDRAWN}
        settings = {**settings, "sweep": {**LATER_OF_SWEEP, **kept}}
    return {**LATER, **settings}


def only_values(node: Any, config: Mapping[str, Any]) -> bool:
    """Returns True if each string in `node` is plain, or is one reference to a single value, such as `${monitor}`.

    node: a part of config.
    """
    if isinstance(node, Mapping):
        return all(only_values(inner, config) for pair in node.items() for inner in pair)
    if isinstance(node, list | tuple | set):
        return all(only_values(inner, config) for inner in node)
    if not isinstance(node, str | bytes) or "${" not in str(node):
        return True
    named = NAMES_A_KEY.fullmatch(str(node))
    found: Any = config
    for part in named[1].split(".") if named else ():
        found = found.get(part) if isinstance(found, Mapping) else None
    # References to mappings or lists are refused: nested ones can expand a few lines to gigabytes.
    return named is not None and not isinstance(found, Mapping | list)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: is too large for a run's configuration")
        text = read_file(path).decode("utf-8")
        if not is_bounded(text):
            raise InputError(f"{path}: holds aliases, or too deep lists; train the run again from its command line")
        content = yaml.load(text, Loader=LOADER)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: was not written by Hydra, or is corrupt; train the run again")
    return dict(content)
