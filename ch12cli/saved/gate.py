"""The one gate for saved settings: whichever file they come from, they pass it whole, with all changes applied."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ch12cli.config.check import check
from ch12cli.config.recorded import data_left_behind
from ch12cli.config.untrusted_settings import EVERY_USE, Use, choice_name_problems, require_kind, untrusted_problems
from ch12cli.errors import InputError, Problem
from ch12cli.training.checkpoint import MISMATCH_ERRORS


def require_valid_settings(
    settings: Mapping[str, Any],
    choices: Mapping[str, Any],
    *,
    directory: Path,
    trust: bool,
    uses: Use = EVERY_USE,
    own: Collection[str] = (),
) -> None:
    """Raises InputError unless `ch12 train` accepts the settings and, without trust, they reach nothing outside.

    settings: with all changes applied. directory: of the run or sweep. uses: what the command does with the settings.
    own: the keys that the user has set on the command line.
    """
    problems = settings_problems(settings, choices, trust=trust, uses=uses, own=own)
    if not problems and Use.DATA in uses:
        problems = data_left_behind(settings.get("dataset"), directory)
    if problems:
        raise InputError([f"{directory}: {problem}" for problem in problems])
    if not trust:
        require_kind(settings)


def settings_problems(
    settings: Mapping[str, Any],
    choices: Mapping[str, Any],
    *,
    trust: bool,
    uses: Use = EVERY_USE,
    own: Collection[str] = (),
    check_device: bool = False,
) -> list[Problem]:
    """Returns the problems that require_valid_settings raises, but for those that need torch to be found.

    check_device: whether the run trains on this machine.
    """
    try:
        problems = choice_name_problems(choices)
        problems += [] if trust else untrusted_problems(settings, uses=uses, own=own)
        return problems or check(settings, choices, check_device=check_device)
    except (*MISMATCH_ERRORS, RecursionError) as error:
        rule = f"its settings were not written by ch12, or are corrupt ({type(error).__name__}: {error})"
        return [Problem("", None, rule)]
