"""Converts a composed configuration to plain values."""

import pickle
import re
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf, SCMode, flag_override
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.choices import content, known_keys, shipped, top_level
from ch12cli.config.values import MANDATORY, shown
from ch12cli.errors import Problem
from ch12cli.files.hydra_folder import flatten, put, value_at

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
    parts = job_parts(config)
    if any(map(holds_dataclass, parts.values())):
        whole: Any = OmegaConf.to_container(config, resolve=False)
        return {str(name): value for name, value in whole.items() if str(name) in parts}
    return parts


def job_parts(config: DictConfig) -> dict[str, Any]:
    """Returns the job's part of a configuration, in which nodes that were made from a dataclass are as they were.

    So is the hydra node, most of a configuration, which is left out.
    """
    parts: Any = OmegaConf.to_container(config, resolve=False, structured_config_mode=SCMode.DICT_CONFIG)
    return {str(name): value for name, value in parts.items() if name != "hydra"}


def holds_dataclass(part: Any) -> bool:
    """Returns True if a part of a configuration is or holds a node that was made from a dataclass."""
    if isinstance(part, list):
        return any(map(holds_dataclass, part))
    return isinstance(part, DictConfig) or (isinstance(part, dict) and any(map(holds_dataclass, part.values())))


def choices_of(config: DictConfig) -> dict[str, str | None]:
    """Returns the choice of each group."""
    return {str(group): choice for group, choice in config.hydra.runtime.choices.items()}


ONE_KEY = re.compile(r"\$\{(\w+(?:\.\w+)*)\}", re.ASCII)  # an interpolation of one key, from the top


def with_keys_resolved(plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns plain values in which interpolations of one key are resolved; None if there are others, or if one misses.

    OmegaConf needs a copy of the whole configuration, which takes ten times as long.
    """
    settings = deepcopy(dict(plain))
    for path, value in flatten(plain):
        if value is None or isinstance(value, bool | int | float):
            continue
        text = str(value)
        if MANDATORY in text:
            return None
        if "${" not in text:
            continue
        found = ONE_KEY.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return None
        try:
            other = value_at(plain, found[1])
            put(settings, path, deepcopy(other))
        except (KeyError, TypeError):
            return None
        if MANDATORY in str(other) or "${" in str(other):
            return None
    return settings


def settings_of(config: DictConfig, plain: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Returns the job's part of a configuration as plain values, with interpolations resolved.

    plain: the same with interpolations as they are. Appends a problem for each value that cannot be resolved, and uses
    the key's default so that checking can continue.
    """
    if (found := with_keys_resolved(plain)) is not None:
        return found
    job = copy_of_config(config)
    with flag_override(job, ["struct", "readonly"], [False, False]):
        del job["hydra"]
    try:
        settings = OmegaConf.to_container(job, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException:
        settings = deepcopy(dict(plain))
        for path, value in flatten(plain):
            try:
                resolved = value if value == MANDATORY else resolve(job, path)  # reported by check()
            except OmegaConfBaseException as error:
                problems.append(Problem(path, shown(value), first_lines(error)))
                resolved = default_of(path)
            put(settings, path, resolved)
        return settings
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
