"""What to say about a key, a group or a choice that there is not."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from hydra.conf import HydraConf
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from ch12cli.config.choices import choices, keys_of_choice, known_keys
from ch12cli.config.schema import GROUPS, HYDRA_KEYS, KEYS
from ch12cli.config.suggest import nearest, suggestion
from ch12cli.errors import Problem
from ch12cli.files.hydra_folder import flatten

# What people, and other programs, call ch12's keys.
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

CALL = re.compile(r"([^=]+)=(\w+)\((.*)\)")
# Hydra's functions of values.
FUNCTIONS = ("range", "choice", "glob", "sort", "shuffle", "tag", "interval", "int", "float", "str", "bool", "json_str")


def word_of(override: Override) -> str:
    """An override as it was typed."""
    return override.input_line or override.key_or_group


def not_understood(word: str) -> Problem:
    """Says that a word of the command line is no override."""
    near = nearest(word, [*known_keys(), *GROUPS]) if "=" not in word else []
    meant = f"did you mean `{near[0]}=…`?" if near else "write key=value"
    called = CALL.fullmatch(word)
    if called and called[2] not in FUNCTIONS and (functions := nearest(called[2], FUNCTIONS)):
        meant = f"did you mean `{called[1]}={functions[0]}({called[3]})`?"
    return Problem.with_override(word, "not understood", f"{meant} (quote values with blanks or commas: 'key=\"…\"')")


def no_such_key(word: str, key: str, *, known: Iterable[str], chosen: Mapping[str, str | None]) -> Problem:
    """Says that a key is not there, and which one is meant. word: as it was typed; known: the keys that are there."""
    known = list(known)
    group, _, name = key.partition(".")
    having = owners(key)
    if having:
        rule = f"{group}={chosen.get(group)} has no {name}"
        return Problem.with_override(word, rule, f"{_and(having)} {_has(having)} it")
    near = _by_another_name(key, known) or suggestion(key, known) or _of_another(key)
    return Problem.with_override(word, "no such key", near or _listing(key, known))


def is_users_own(path: str, chosen: Mapping[str, str | None]) -> bool:
    """True for a top-level key of the user's own, which resembles none of ch12's, or one of a group of the user's own.

    chosen: the choice of each group.
    """
    known = [*known_keys(), *GROUPS]
    heads = {"hydra", *(key.partition(".")[0] for key in known)}
    head, dot, _ = path.partition(".")
    if head in heads:
        return False
    is_alias = not dot and path.lower().replace("-", "_") in ALIASES
    return head in chosen or not (is_alias or nearest(head, heads) or nearest(path, known))


def no_such_choice(word: str, name: str, known: Iterable[str]) -> Problem:
    """Says that a group has no such choice, and which one is meant, or all of them."""
    known = list(known)
    near = suggestion(name, known)
    hint = f"{f'{near} It may be' if near else 'choose one of'} {', '.join(known)}"
    return Problem.with_override(word, "no such choice", hint)


def no_such_group(word: str, name: str) -> Problem:
    """Says that a group is not there, and which one is meant, or all of ch12's own."""
    hint = suggestion(name, GROUPS) or f"the groups are {', '.join(GROUPS)}"
    return Problem.with_override(word, "no such group", hint)


# Keys that Hydra takes without a word where they do nothing, and what to type instead; of a run alone, of a sweep.
OF_THE_OTHER = (
    {"hydra.sweep.dir": ("is of a sweep", "add -m for one, or name a run's directory by hydra.run.dir")},
    {"hydra.run.dir": ("is of a single run", "leave out -m, or name a sweep's directory by hydra.sweep.dir")},
)


def idle_problems(overrides: Iterable[Override], *, swept: bool) -> list[Problem]:
    """Which of Hydra's own settings do nothing for a run, or for a sweep."""
    keys = OF_THE_OTHER[swept]
    return [Problem.with_override(word_of(o), *keys[o.key_or_group]) for o in overrides if o.key_or_group in keys]


def hydra_problem(override: Override) -> Problem | None:
    """What is wrong with the key of one of Hydra's own settings, or None."""
    key, node = override.key_or_group, OmegaConf.to_container(OmegaConf.structured(HydraConf), resolve=False)
    if key.startswith("hydra.sweeper.params"):
        hint = "on the command line write what it would hold, such as seed=1,2"
        return Problem.with_override(word_of(override), "belongs in a file", hint)
    heads = ["hydra"]
    for part in key.split(".")[1:]:
        # what Hydra leaves open (a launcher's options, the environment to set) it checks by itself
        if override.is_add() or not isinstance(node, dict) or not node:
            return None
        if part not in node:
            known = [".".join([*heads, str(name)]) for name in node]
            hint = suggestion(key, [*HYDRA_KEYS, *known]) or _listing(key, known)
            return Problem.with_override(word_of(override), "no such key", hint)
        node = node[part]
        heads.append(part)
    return None


def owners(key: str) -> list[str]:
    """The choices that have a key, as they are typed: `optimizer=sgd`."""
    group = key.partition(".")[0]
    if group not in GROUPS or group == "experiment":
        return []
    return [f"{group}={choice.name}" for choice in choices(group) if key in keys_of_choice(choice)]


def _by_another_name(key: str, known: Collection[str]) -> str:
    """The key that people, and other programs, call by this name."""
    meant = ALIASES.get(key.rpartition(".")[2].lower().replace("-", "_"))
    return f"did you mean `{meant}`?" if meant and meant in known else ""


def _of_another(key: str) -> str:
    """The nearest keys of choices that are not taken, each with one that has it."""
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
    """The dotted keys that an override sets: several if its value is a mapping."""
    key, value = override.key_or_group, override.value()
    if not isinstance(value, dict) or key in KEYS:
        return [key]
    return [path for path, _ in flatten({key: value})]


def unknown_anywhere(overrides: Sequence[Override]) -> list[Problem]:
    """What can be said of overrides when the files cannot be read: keys that no choice has."""
    known = [*known_keys(), *GROUPS, *HYDRA_KEYS]
    heads = tuple(f"{key.partition('.')[0]}." for key in known)
    return [
        no_such_key(word_of(override), override.key_or_group, known=known, chosen={})
        for override in overrides
        if not override.is_add() and override.key_or_group not in known and not override.key_or_group.startswith(heads)
    ]
