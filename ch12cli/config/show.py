"""A composed configuration as YAML, as Hydra's --cfg prints it."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.compose import Composer
from ch12cli.config.settings import first_lines
from ch12cli.config.suggest import suggestion
from ch12cli.errors import InputError, Problem


def format_configuration(
    composer: Composer, lines: Sequence[str], *, part: str, package: str | None, resolve: bool
) -> str:
    """The job's configuration, Hydra's own, or all. package: a dotted key below which to show."""
    problems: list[Problem] = []
    config: Any = composer.compose(lines, problems).config
    if problems:
        raise InputError(problems)
    if part == "hydra":
        config = OmegaConf.masked_copy(config, ["hydra"])
    elif part == "job":
        config = OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
    header = ""
    if package:
        known = [str(name) for name in config]
        config = OmegaConf.select(config, package)
        if not isinstance(config, DictConfig):
            raise InputError(Problem(f"--package {package}", None, "no such group of keys", suggestion(package, known)))
        header = f"# @package {package}\n"
    try:
        return header + OmegaConf.to_yaml(config, resolve=resolve).rstrip("\n")
    except OmegaConfBaseException as error:
        raise InputError(first_lines(error)) from error
