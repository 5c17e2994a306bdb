"""Candidates for tab completion: verbs, options, groups, choices, keys and values. Needs no Hydra."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ch12cli.cli.help.overview import option_meaning, options_of
from ch12cli.cli.verbs import VERBS
from ch12cli.config.choices import (
    choices_of_group,
    chosen_by,
    default_choices,
    find_choice,
    keys_of_choice,
    known_keys,
    top_level,
)
from ch12cli.config.schema import GROUPS, KEYS, METRICS, MONITORS, key_of
from ch12cli.rules import describe_choices

Candidates = list[tuple[str, str]]  # (word, meaning)

MAX_RUNS = 50
SHELLS = ("bash", "zsh", "fish")
SAFE = re.compile(r"[\w./-]+")  # names that need no quotes in a shell or in Hydra; only these are offered

# Keys of Hydra whose values are folders.
FOLDER_KEYS = {
    "hydra.run.dir": "the run's directory",
    "hydra.sweep.dir": "the sweep's directory",
}


# Keys whose values are paths, and what the shell lists for them.
PATH_KEYS = {**dict.fromkeys(FOLDER_KEYS, "folders"), "dataset.folder": "folders", "dataset.file": "files"}


class Answer(NamedTuple):
    """What may stand at the cursor. kind: "words" (the candidates), or "folders" or "files", which the shell lists."""

    kind: str = "words"
    candidates: Candidates = []  # noqa: RUF012 (of an immutable tuple, never changed)


class CompletionLine(NamedTuple):
    """The arguments before the cursor. operands: those that are no options; choices: the choices of each group."""

    operands: list[str]
    folders: list[Path]
    choices: Mapping[str, Sequence[str]]


def answer_for(argv: Sequence[str], current: str) -> Answer:
    """What may stand in place of the current word. before: the words before it, without `ch12`."""
    if not argv:
        general = {"--help": "show the commands", "--version": "show the version"}
        return offered([*VERBS.items(), *(general.items() if current.startswith("-") else ())], current)
    verb = argv[0]
    if verb not in VERBS:
        return Answer()
    options = {name: action for action in options_of(verb) for name in action.option_strings}
    before = options.get(argv[-1]) if len(argv) > 1 else None
    if before is not None and before.nargs != 0:
        return option_value(before, "", current)
    name, separator, value = current.partition("=")
    if separator and name in options and options[name].nargs != 0:
        return option_value(options[name], f"{name}=", value)
    if current.startswith("-"):
        return offered([(name, option_meaning(action)) for name, action in options.items()], current)
    line = read_line(argv[1:], options)
    if verb == "completion":
        return offered([(shell, "") for shell in SHELLS] if not line.operands else [], current)
    if verb == "book":
        return offered(chapter_candidates(), current)
    if verb == "bench" and not line.operands:
        return offered([("loader", "how fast batches load"), ("parallel", "what ways of training bring")], current)
    if verb == "explain" and not line.operands:
        return subject_candidates(line, current)
    if verb == "predict" and line.operands:
        return Answer("files")
    takes_overrides = verb in ("train", "explain", "bench") or (verb == "resume" and line.operands)
    return override_candidates(line, current) if takes_overrides else run_candidates(current)


def chapter_candidates() -> Candidates:
    """The sections and the items of the chapter, with their titles."""
    from ch12cli.book.printed import ITEMS, SECTIONS

    return [*SECTIONS.items(), *((str(number), item.title) for number, item in ITEMS.items())]


def run_candidates(current: str) -> Answer:
    """Names of runs and sweeps that match, newest first; folders if none matches."""
    if current.startswith("@"):
        return offered(
            [("@1", "the newest"), ("@2", "the one before it"), ("@best", "with the best objective")], current
        )
    from ch12cli.catalogue.entries import entries
    from ch12cli.catalogue.names import OUTPUTS

    known = sorted(entries(OUTPUTS), key=lambda entry: entry.when, reverse=True)
    found = [
        (name, f"{entry.kind}, {entry.status}")
        for entry in known
        for name in (str(entry.path), str(entry.path.relative_to(OUTPUTS)))
        if SAFE.fullmatch(name) and name.startswith(current)
    ]
    # the shell completes a path that is being typed; otherwise short names are offered
    short = [pair for pair in found if not pair[0].startswith(f"{OUTPUTS}/")][:MAX_RUNS]
    return Answer("words", short or found[:MAX_RUNS]) if found else Answer("folders")


def offered(candidates: Iterable[tuple[str, str]], current: str) -> Answer:
    """The candidates that start with the current word."""
    return Answer("words", [(word, meaning) for word, meaning in candidates if word.startswith(current)])


def option_value(action: argparse.Action, start: str, value: str) -> Answer:
    """What may stand after an option. start: the part of the current word that belongs to the option."""
    if action.type is Path:
        return Answer("folders" if action.dest.endswith("dir") else "files")
    words = action.choices or OPTION_WORDS.get(action.dest, tuple)()
    return offered([(f"{start}{word}", key_meaning(str(word))) for word in words], f"{start}{value}")


def metrics() -> list[str]:
    """The metrics that a run may record."""
    return [*MONITORS, *(f"test_{metric}" for metric in METRICS)]


def sort_keys() -> list[str]:
    """The results and the configuration keys that runs may be sorted by."""
    from ch12cli.cli.verbs.runs import ALWAYS, LEADING

    results = [*LEADING, *sorted(ALWAYS.difference(LEADING)), *metrics()]
    return list(dict.fromkeys([*results, *swept_keys()]))


def swept_keys() -> list[str]:
    """The configuration keys of all choices."""
    return [path for path in known_keys() if not path.endswith("._target_")]


def statuses() -> Sequence[str]:
    """The statuses that runs may be removed by."""
    from ch12cli.cli.verbs.rm import STATUSES

    return STATUSES


# The words that an option takes, by its name in the parser, if the parser allows others too.
OPTION_WORDS: Mapping[str, Callable[[], Sequence[str]]] = {
    "metric": lambda: ["objective", *metrics(), "lr", "seconds"],
    "sort": sort_keys,
    "x": swept_keys,
    "y": swept_keys,
    "package": swept_keys,
    "status": statuses,
    "device": lambda: describe_choices(KEYS["device"].rule),
}


def read_line(argv: Sequence[str], options: Mapping[str, argparse.Action]) -> CompletionLine:
    """The arguments before the cursor, sorted into operands, folders and choices."""
    plain: list[str] = []
    folders: list[Path] = []
    rest = iter(argv)
    for argument in rest:
        name, separator, value = argument.partition("=")
        option = options.get(name) if argument.startswith("-") else None
        if option is None:
            plain.append(argument)
        elif option.nargs != 0:
            value = value if separator else next(rest, "")
            folders += [Path(value).expanduser()] if option.dest == "config_dir" else []
    return CompletionLine(plain, folders, choices_on(plain, folders))


def choices_on(argv: Sequence[str], folders: Sequence[Path]) -> dict[str, list[str]]:
    """The choice of each group: from the line, else from a preset on it, else the default."""
    choices = {group: [choice] for group, choice in default_choices().items() if choice}
    named = {}
    for argument in argv:
        group, separator, value = argument.lstrip("+").partition("=")
        if separator and group in GROUPS:
            named[group] = value.split(",")
    for name in named.get("experiment", []):
        preset = find_choice("experiment", name, folders)
        choices |= {group: [choice] for group, choice in (chosen_by(preset) if preset else {}).items()}
    return choices | named


def override_candidates(line: CompletionLine, current: str) -> Answer:
    """Groups, keys and values, each after the + or ~ that the current word starts with."""
    sign, rest = re.fullmatch(r"(~|\+{0,2})(.*)", current, re.DOTALL).groups()  # type: ignore[union-attr]
    key, separator, value = rest.partition("=")
    if separator and key in PATH_KEYS:
        return Answer(PATH_KEYS[key])
    if separator:
        return value_candidates(line, f"{sign}{key}=", key, value)
    end = "" if sign == "~" else "="
    listed = [(f"{group}{end}", meaning) for group, meaning in GROUPS.items()]
    listed += [(f"{path}{end}", key_meaning(path)) for path in keys_on(line)]
    listed += [(f"{path}{end}", meaning) for path, meaning in FOLDER_KEYS.items()]
    found = [(path, meaning) for path, meaning in listed if path.startswith(rest)]
    if not rest:  # too many for one list: keys with a dot need a first letter
        found = [(path, meaning) for path, meaning in found if "." not in path]
    if not found:  # lr for optimizer.lr
        found = [(path, meaning) for path, meaning in listed if path.rpartition(".")[2].startswith(rest)]
        found = found if len(found) == 1 else []
    return Answer("words", [(f"{sign}{path}", meaning) for path, meaning in found])


def keys_on(line: CompletionLine) -> list[str]:
    """The top-level keys, and those of the choices on the line."""
    keys = dict.fromkeys(top_level())
    for group in GROUPS:
        if group != "experiment":
            selected = [find_choice(group, name, line.folders) for name in line.choices.get(group, ())]
            # an unknown choice: offer the keys of all choices
            known = [choice for choice in selected if choice] or choices_of_group(group, line.folders)
            keys |= dict.fromkeys(path for choice in known for path in keys_of_choice(choice))
    return [path for path in keys if not path.endswith("._target_")]


def key_meaning(path: str) -> str:
    """The meaning of a key; empty for an unknown key."""
    key = key_of(path)
    return key.meaning if key else ""


def value_candidates(line: CompletionLine, start: str, key: str, value: str) -> Answer:
    """Values of a group or a key; after a comma, those that the list lacks. start: the word up to the value."""
    before, comma, _ = value.rpartition(",")
    if key in GROUPS:
        listed = [
            (choice.name, choice.meaning)
            for choice in choices_of_group(key, line.folders)
            if SAFE.fullmatch(choice.name)
        ]
    else:
        known = key_of(key)
        listed = [(word, "") for word in describe_choices(known.rule if known else None)]
    fresh = [(word, meaning) for word, meaning in listed if word not in before.split(",")]
    return offered([(f"{start}{before}{comma}{word}", meaning) for word, meaning in fresh], f"{start}{value}")


def subject_candidates(line: CompletionLine, current: str) -> Answer:
    """What `ch12 explain` can explain: groups, keys and, after a group's =, choices."""
    group, separator, value = current.partition("=")
    if separator:
        return value_candidates(line, f"{group}=", group, value)
    paths = [path for path in known_keys(line.folders) if not path.endswith("._target_")]
    found = offered([*GROUPS.items(), *((path, key_meaning(path)) for path in paths)], current)
    return found if current else found._replace(candidates=[entry for entry in found.candidates if "." not in entry[0]])
