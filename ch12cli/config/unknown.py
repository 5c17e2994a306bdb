"""Messages about unknown keys, groups and choices, with suggestions."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from hydra.conf import HydraConf
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from ch12cli.config.choices import choices_of_group, is_alias, keys_of_choice, known_keys
from ch12cli.config.schema import GROUPS, HYDRA_KEYS, KEYS
from ch12cli.errors import Problem
from ch12cli.files.hydra_folder import flatten
from ch12cli.shell import shell_word
from ch12cli.suggest import nearest, suggestion

# Common names for ch12's keys, also from other programs.
ALIASES = {
    "learning_rate": "optimizer.lr",
    "rate": "optimizer.lr",
    "eta": "optimizer.lr",
    "max_epochs": "epochs",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_iter": "epochs",
    "iterations": "epochs",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "num_workers": "workers",
    "random_state": "seed",
    "random_seed": "seed",
    "hidden": "model.width",
    "hidden_size": "model.width",
    "hidden_units": "model.width",
    "units": "model.width",
    "neurons": "model.width",
    "layers": "model.depth",
    "num_layers": "model.depth",
    "n_layers": "model.depth",
    "hidden_layers": "model.depth",
    "dropout_rate": "model.dropout",
    "l2": "optimizer.weight_decay",
    "alpha": "optimizer.weight_decay",
    "gpu": "device",
    "cuda": "device",
    "accelerator": "device",
    "patience": "early_stopping.patience",
    "gradient_clip_val": "clip_grad_norm",
    "dtype": "precision",
    "test_split": "dataset.test_size",
    "validation_split": "dataset.valid_size",
    "val_size": "dataset.valid_size",
}

# Data sets of other packages, as letters and digits.
KNOWN_IDX = ("mnist", "fashionmnist", "kmnist", "emnist", "qmnist")
KNOWN_IMAGES = ("cifar", "cifar10", "cifar100", "svhn", "stl10", "celeba", "imagenet")
KNOWN_TABLES = (
    "wine", "digits", "breastcancer", "diabetes", "california", "californiahousing", "boston", "titanic",
    "penguins", "adult", "autompg", "housing", "tips", "mpg", "planets",
)  # fmt: skip

KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@-]*", re.ASCII)
LISTS = ("hydra.sweeper.constraints",)  # keys that take a list alone
LIST = re.compile(r"\[([^\[\]{}\"']*)\]")
PLAIN = re.compile(r"[\w./:%@$?|+*,\[\]\s\\-]", re.ASCII)  # what Hydra takes in a value without quotes
LONGEST_ADVICE = 200  # characters of an override that is repeated in advice
CALL = re.compile(r"([^=]+)=(\w+)\((.*)\)")
# The functions of Hydra's override grammar.
FUNCTIONS = ("range", "choice", "glob", "sort", "shuffle", "tag", "interval", "int", "float", "str", "bool", "json_str")


def override_text(override: Override) -> str:
    """Returns an override as it was typed."""
    return override.input_line or override.key_or_group


def not_understood(text: str) -> Problem:
    """Returns a problem for a command-line argument that is not an override."""
    near = nearest(text, [*known_keys(), *GROUPS]) if "=" not in text else []
    meant = f"did you mean `{near[0]}=…`?" if near else "write key=value"
    called = CALL.fullmatch(text)
    if called and called[2] not in FUNCTIONS and (functions := nearest(called[2], FUNCTIONS)):
        meant = f"did you mean `{shell_word(f'{called[1]}={functions[0]}({called[3]})')}`?"
    if called and (hint := _of_function(*called.groups())):
        return Problem.with_override(text, "not understood", hint)
    generally = f"{meant} (quote values with other signs than letters from a to z: 'key=\"…\"')"
    return Problem.with_override(text, "not understood", _quoted(text) or generally)


def _of_function(key: str, name: str, arguments: str) -> str:
    """Returns a hint on a common mistake with a function of Hydra's override grammar; empty if it is none."""
    if name == "log":
        return f"a logarithmic scale is a tag: {shell_word(f'{key}=tag(log,interval({arguments}))')}"
    if name == "interval" and arguments.count(",") != 1:
        return f"an interval has two bounds: {shell_word(f'{key}=interval(LOW,HIGH)')}"
    if name == "choice" and "null" in re.split(r"[,\s]+", arguments):
        return f"choice takes no null; write {shell_word(f'{key}={arguments}')}"
    return ""


def _quoted(text: str) -> str:
    """Returns a hint to quote the value of an override, or the texts in a list; empty if that does not help."""
    key, _, value = text.partition("=")
    if not KEY.fullmatch(key) or len(text) > LONGEST_ADVICE or not value.isprintable() or "${" in value:
        return ""
    inner = LIST.fullmatch(f"[{value}]" if key in LISTS else value)
    texts = [part.strip() for part in inner[1].split(",")] if inner else [value]
    if value.partition("(")[0] in FUNCTIONS or (CALL.fullmatch(text) and nearest(value.partition("(")[0], FUNCTIONS)):
        return ""
    if not all(texts) or any(part[0] in "[{\"'" or part[-1] in "]}\"'" for part in texts):
        return ""
    quoted = ",".join('"' + part.replace('"', '\\"') + '"' for part in texts)
    signs = "".join(dict.fromkeys(sign for sign in value if not PLAIN.fullmatch(sign)))
    because = f", because of {' '.join(signs)}" if signs else ""
    return f"quote the value{because}: {shell_word(f'{key}=[{quoted}]' if inner else f'{key}={quoted}')}"


def no_such_key(text: str, key: str, *, known: Iterable[str], choices: Mapping[str, str | None]) -> Problem:
    """Returns a problem for an unknown key, with a suggestion.

    text: the override as typed; known: the existing keys; choices: the choice of each group.
    """
    known = list(known)
    group, _, name = key.partition(".")
    having = owners(key)
    if having:
        rule = f"{group}={choices.get(group)} has no {name}"
        return Problem.with_override(text, rule, f"{_and(having)} {_has(having)} it")
    near = _by_another_name(key, known) or suggestion(key, known) or _of_another(key)
    return Problem.with_override(text, "no such key", near or _listing(key, known))


def is_users_own(path: str, choices: Mapping[str, str | None]) -> bool:
    """Returns True if a key belongs to the user: it is in a group of the user, or resembles none of ch12's keys.

    choices: the choice of each group.
    """
    known = [*known_keys(), *GROUPS]
    heads = {"hydra", *(key.partition(".")[0] for key in known)}
    head, dot, _ = path.partition(".")
    if head in heads:
        return False
    is_alias = not dot and path.lower().replace("-", "_") in ALIASES
    return head in choices or not (is_alias or nearest(head, heads) or nearest(path, known))


def no_such_choice(text: str, name: str, known: Iterable[str]) -> Problem:
    """Returns a problem for an unknown choice, with the nearest choices and a list of all."""
    known = list(known)
    near = suggestion(name, known)
    if text.partition("=")[0].lstrip("+") == "dataset" and not near and (way := _way_to_bring(name)):
        return Problem.with_override(text, "no such choice", f"ch12 fetches no data; {way}")
    hint = f"{f'{near} It may be' if near else 'choose one of'} {', '.join(known)}"
    return Problem.with_override(text, "no such choice", hint)


def _way_to_bring(name: str) -> str:
    """Returns how to train on a well-known data set that ch12 does not have; empty for another name."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in KNOWN_IDX:
        return "put its idx files in a folder, and add dataset=idx dataset.folder=FOLDER model=cnn"
    if plain in KNOWN_IMAGES:
        return (
            "save its images in a folder for each class, and add dataset=image_folder dataset.folder=FOLDER "
            "dataset.height=32 dataset.width=32 model=cnn"
        )
    return "save it as a CSV file, and add dataset=table dataset.file=FILE" if plain in KNOWN_TABLES else ""


def no_such_group(text: str, name: str) -> Problem:
    """Returns a problem for an unknown group, with the nearest of ch12's groups, or all of them."""
    hint = suggestion(name, GROUPS) or f"the groups are {', '.join(GROUPS)}"
    return Problem.with_override(text, "no such group", hint)


# Keys that Hydra silently ignores, with what to type instead: first in a single run, then in a sweep.
OF_THE_OTHER = (
    {"hydra.sweep.dir": ("is of a sweep", "add -m for one, or name a run's directory by hydra.run.dir")},
    {"hydra.run.dir": ("is of a single run", "leave out -m, or name a sweep's directory by hydra.sweep.dir")},
)


def idle_problems(overrides: Iterable[Override], *, swept: bool) -> list[Problem]:
    """Returns a problem for each Hydra setting that has no effect in a sweep (swept) or in a single run."""
    keys = OF_THE_OTHER[swept]
    found = [(override_text(o), o.key_or_group) for o in overrides]
    idle = [Problem.with_override(text, *keys[key]) for text, key in found if key in keys]
    of_search = [text for text, key in found if key == "search" or key.startswith("search.")]
    return idle + [Problem.with_override(text, "is of a search", "add -m for one") for text in of_search]


@cache
def hydra_defaults() -> Any:
    """Returns Hydra's own settings with their defaults, as nested dictionaries."""
    return OmegaConf.to_container(OmegaConf.structured(HydraConf), resolve=False)


def hydra_problem(override: Override) -> Problem | None:
    """Returns the problem with the key of a Hydra setting, or None."""
    key, node = override.key_or_group, hydra_defaults()
    if key.startswith("hydra.sweeper.params"):
        hint = "on the command line write what it would hold, such as seed=1,2"
        return Problem.with_override(override_text(override), "belongs in a file", hint)
    heads = ["hydra"]
    for part in key.split(".")[1:]:
        # Hydra itself checks keys below open nodes, such as launcher options and environment variables
        if override.is_add() or not isinstance(node, dict) or not node:
            return None
        if part not in node:
            known = [".".join([*heads, str(name)]) for name in node]
            hint = suggestion(key, [*HYDRA_KEYS, *known]) or _listing(key, known)
            return Problem.with_override(override_text(override), "no such key", hint)
        node = node[part]
        heads.append(part)
    return None


def owners(key: str) -> list[str]:
    """Returns the choices that have a key, as typed: `optimizer=sgd`."""
    group = key.partition(".")[0]
    if group not in GROUPS or group == "experiment":
        return []
    having = [choice for choice in choices_of_group(group) if key in keys_of_choice(choice)]
    return [f"{group}={choice.name}" for choice in having if not is_alias(choice)]


def _by_another_name(key: str, known: Collection[str]) -> str:
    """Returns a suggestion of the known key that has this name as an alias, or an empty string."""
    meant = ALIASES.get(key.rpartition(".")[2].lower().replace("-", "_"))
    return f"did you mean `{meant}`?" if meant and meant in known else ""


def _of_another(key: str) -> str:
    """Returns a suggestion of the nearest keys of other choices, each with a choice that has it, or an empty string."""
    near = [f"`{name}` of {owners(name)[0]}" for name in nearest(key, known_keys()) if owners(name)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def _listing(key: str, known: Iterable[str]) -> str:
    head = key.rpartition(".")[0]
    inside = [name.removeprefix(f"{head}.") for name in known if head and name.startswith(f"{head}.")]
    names = ", ".join(name for name in inside if name != "_target_") or "no options"
    if head in GROUPS:
        return f"{head} has {names} (+{key}=… passes on another)"
    return f"{head} has {names}" if inside else "see `ch12 train --help`"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


def paths_of(override: Override) -> list[str]:
    """Returns the dotted keys that an override sets. There are several if its value is a mapping."""
    key, value = override.key_or_group, override.value()
    if not isinstance(value, dict) or key in KEYS:
        return [key]
    return [path for path, _ in flatten({key: value})]


def unknown_anywhere(overrides: Sequence[Override]) -> list[Problem]:
    """Returns a problem for each override of a key that no choice has. Used when the files cannot be composed."""
    known = [*known_keys(), *GROUPS, *HYDRA_KEYS]
    heads = tuple(f"{key.partition('.')[0]}." for key in known)
    return [
        no_such_key(override_text(override), override.key_or_group, known=known, choices={})
        for override in overrides
        if not override.is_add() and override.key_or_group not in known and not override.key_or_group.startswith(heads)
    ]
