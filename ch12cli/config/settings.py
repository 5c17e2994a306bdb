"""Converts a composed configuration to plain values."""

import pickle
from contextlib import suppress
from copy import deepcopy
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.choices import content, known_keys, shipped, top_level
from ch12cli.config.values import MANDATORY, shown
from ch12cli.errors import Problem
from ch12cli.files.hydra_folder import flatten, put

CHAINED = ", set env var HYDRA_FULL_ERROR=1 to see chained exception"  # ch12 shows the chained exception itself
NOISE = ("full_key:", "object_type=", "reference_type=")  # internal details in OmegaConf's messages


def first_lines(error: BaseException) -> str:
    """Returns the message of a Hydra or OmegaConf error in one line, without internal details."""
    texts = [str(text).replace(CHAINED, "") for text in (error, error.__cause__ or "")]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return "; ".join([line for line in lines if line and not line.startswith(NOISE)][:3])


class Template:
    """A whole configuration to copy. A copy takes a fifth of deepcopy's time, where all values can be pickled."""

    def __init__(self, config: DictConfig) -> None:
        self.config, self.pickled = config, b""
        with suppress(pickle.PicklingError, AttributeError, TypeError):  # of a local class of the user's, say
            self.pickled = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)

    def copy(self) -> DictConfig:
        config: DictConfig = pickle.loads(self.pickled) if self.pickled else deepcopy(self.config)
        return config


def copy_of_config(config: DictConfig) -> DictConfig:
    """Returns a copy of a whole configuration."""
    return Template(config).copy()


def plain_job(config: DictConfig) -> dict[str, Any]:
    """Returns the job's part of a configuration as plain values, with interpolations unresolved."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items() if name != "hydra"}


def choices_of(config: DictConfig) -> dict[str, str | None]:
    """Returns the choice of each group."""
    return {str(group): choice for group, choice in config.hydra.runtime.choices.items()}


def settings_of(config: DictConfig, problems: list[Problem]) -> dict[str, Any]:
    """Returns the job's part of a configuration as plain values, with interpolations resolved.

    Appends a problem for each value that cannot be resolved, and uses the key's default so that checking can continue.
    """
    job = copy_of_config(config)
    with flag_override(job, ["struct", "readonly"], [False, False]):
        del job["hydra"]
    try:
        settings = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException:
        plain = plain_job(config)
        for path, value in list(flatten(plain)):
            try:
                resolved = value if value == MANDATORY else resolve(job, path)  # reported by check()
            except OmegaConfBaseException as error:
                problems.append(Problem(path, shown(value), first_lines(error)))
                resolved = default_of(path)
            put(plain, path, resolved)
        return plain
    assert isinstance(settings, dict)
    return {str(name): value for name, value in settings.items()}


def resolve(config: DictConfig, path: str) -> Any:
    """Returns the plain value of a dotted key, with interpolations resolved."""
    value = OmegaConf.select(config, path, throw_on_missing=True)
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, Container) else value


def default_of(path: str) -> Any:
    """Returns the default of a dotted key in ch12's own files, or None for any other key."""
    if path in top_level():
        return OmegaConf.select(OmegaConf.create(content(shipped() / "config.yaml")), path)
    return known_keys().get(path)
