"""What can stand at the end of a command line: verbs, options, groups, choices, keys and values. Without Hydra."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ch12cli.cli.help.overview import option_meaning, options_of
from ch12cli.cli.verbs import VERBS
from ch12cli.config.choices import choices, chosen_by, default_choices, find, keys_of_choice, known_keys, top_level
from ch12cli.config.rules import words_of
from ch12cli.config.schema import GROUPS, key_of

Candidates = list[tuple[str, str]]  # (what would stand there, what it means)

OFFERED = 50  # runs, at most
SHELLS = ("bash", "zsh", "fish")
SAFE = re.compile(r"[\w./-]+")  # names that need quotes neither in a shell nor in Hydra; others are not offered

# Keys of Hydra that users of ch12 need; the value of each is a folder.
FOLDER_KEYS = {
    "hydra.run.dir": "the run's directory",
    "hydra.sweep.dir": "the sweep's directory",
}


class Answer(NamedTuple):
    """What can stand at the cursor. kind: "words", the candidates; "folders" or "files", which the shell knows."""

    kind: str = "words"
    candidates: Candidates = []  # noqa: RUF012 (of an immutable tuple, never changed)


class Line(NamedTuple):
    """What the words before the cursor say. words: those that are no options; chosen: the choices of each group."""

    words: list[str]
    folders: list[Path]
    chosen: Mapping[str, Sequence[str]]


def answer_for(words: Sequence[str], current: str) -> Answer:
    """What can stand in place of the current word. words: those before it, without `ch12` itself."""
    if not words:
        general = {"--help": "what ch12 does", "--version": "which ch12 this is"}
        return offered([*VERBS.items(), *(general.items() if current.startswith("-") else ())], current)
    verb = words[0]
    if verb not in VERBS:
        return Answer()
    options = {name: action for action in options_of(verb) for name in action.option_strings}
    before = options.get(words[-1]) if len(words) > 1 else None
    if before is not None and before.nargs != 0:
        return option_value(before, "", current)
    name, separator, value = current.partition("=")
    if separator and name in options and options[name].nargs != 0:
        return option_value(options[name], f"{name}=", value)
    if current.startswith("-"):
        return offered([(name, option_meaning(action)) for name, action in options.items()], current)
    line = read_line(words[1:], options)
    if verb == "completion":
        return offered([(shell, "") for shell in SHELLS] if not line.words else [], current)
    if verb == "explain" and not line.words:
        return subjects(line, current)
    if verb == "predict" and line.words:
        return Answer("files")
    return overrides(line, current) if verb in ("train", "explain") else runs(current)


def runs(current: str) -> Answer:
    """Names of runs and sweeps, the newest first; folders, where none begins so."""
    if current.startswith("@"):
        return offered([("@1", "the newest"), ("@2", "the one before"), ("@best", "with the best objective")], current)
    from ch12cli.catalogue.entries import entries
    from ch12cli.catalogue.names import OUTPUTS

    known = sorted(entries(OUTPUTS), key=lambda entry: entry.when, reverse=True)
    found = [
        (name, f"{entry.kind}, {entry.status}")
        for entry in known
        for name in (str(entry.path), str(entry.path.relative_to(OUTPUTS)))
        if SAFE.fullmatch(name) and name.startswith(current)
    ]
    # of a path that is being typed the shell knows the folders; without one, short names are what is meant
    short = [pair for pair in found if not pair[0].startswith(f"{OUTPUTS}/")][:OFFERED]
    return Answer("words", short or found[:OFFERED]) if found else Answer("folders")


def offered(candidates: Iterable[tuple[str, str]], current: str) -> Answer:
    """The candidates that begin as the current word does."""
    return Answer("words", [(word, meaning) for word, meaning in candidates if word.startswith(current)])


def option_value(action: argparse.Action, start: str, value: str) -> Answer:
    """What can stand behind an option. start: what of the current word belongs to the option itself."""
    if action.type is Path:
        return Answer("folders" if action.dest.endswith("dir") else "files")
    return offered([(f"{start}{choice}", "") for choice in action.choices or ()], f"{start}{value}")


def read_line(words: Sequence[str], options: Mapping[str, argparse.Action]) -> Line:
    """What the words before the cursor say about what may follow."""
    plain: list[str] = []
    folders: list[Path] = []
    rest = iter(words)
    for word in rest:
        name, separator, value = word.partition("=")
        option = options.get(name) if word.startswith("-") else None
        if option is None:
            plain.append(word)
        elif option.nargs != 0:
            value = value if separator else next(rest, "")
            folders += [Path(value).expanduser()] if option.dest == "config_dir" else []
    return Line(plain, folders, choices_on(plain, folders))


def choices_on(words: Sequence[str], folders: Sequence[Path]) -> dict[str, list[str]]:
    """The choices of each group: those on the line, else of a preset on it, else the default."""
    chosen = {group: [choice] for group, choice in default_choices().items() if choice}
    named = {}
    for word in words:
        group, separator, value = word.lstrip("+").partition("=")
        if separator and group in GROUPS:
            named[group] = value.split(",")
    for name in named.get("experiment", []):
        preset = find("experiment", name, folders)
        chosen |= {group: [choice] for group, choice in (chosen_by(preset) if preset else {}).items()}
    return chosen | named


def overrides(line: Line, current: str) -> Answer:
    """Groups, keys and values, each behind the + or ~ that the current word begins with."""
    sign, rest = re.fullmatch(r"(~|\+{0,2})(.*)", current, re.DOTALL).groups()  # type: ignore[union-attr]
    key, separator, value = rest.partition("=")
    if separator and (key in FOLDER_KEYS or key == "dataset.folder"):
        return Answer("folders")
    if separator:
        return values(line, f"{sign}{key}=", key, value)
    end = "" if sign == "~" else "="
    listed = [(f"{group}{end}", meaning) for group, meaning in GROUPS.items()]
    listed += [(f"{path}{end}", meaning_of(path)) for path in keys_on(line)]
    listed += [(f"{path}{end}", meaning) for path, meaning in FOLDER_KEYS.items()]
    found = [(path, meaning) for path, meaning in listed if path.startswith(rest)]
    if not rest:  # all at once would be too many: those with a dot wait for a first letter
        found = [(path, meaning) for path, meaning in found if "." not in path]
    if not found:  # lr for optimizer.lr
        found = [(path, meaning) for path, meaning in listed if path.rpartition(".")[2].startswith(rest)]
        found = found if len(found) == 1 else []
    return Answer("words", [(f"{sign}{path}", meaning) for path, meaning in found])


def keys_on(line: Line) -> list[str]:
    """The keys at the top, and those of the choices that the line makes."""
    keys = dict.fromkeys(top_level())
    for group in GROUPS:
        if group != "experiment":
            made = [find(group, name, line.folders) for name in line.chosen.get(group, ())]
            # a choice that there is not: then any of the group's
            known = [choice for choice in made if choice] or choices(group, line.folders)
            keys |= dict.fromkeys(path for choice in known for path in keys_of_choice(choice))
    return [path for path in keys if not path.endswith("._target_")]


def meaning_of(path: str) -> str:
    key = key_of(path)
    return key.meaning if key else ""


def values(line: Line, start: str, key: str, value: str) -> Answer:
    """Values of a group or a key; behind a comma, those that the list has not yet. start: the word up to the value."""
    before, comma, _ = value.rpartition(",")
    if key in GROUPS:
        listed = [(choice.name, choice.meaning) for choice in choices(key, line.folders) if SAFE.fullmatch(choice.name)]
    else:
        known = key_of(key)
        listed = [(word, "") for word in words_of(known.rule if known else None)]
    fresh = [(word, meaning) for word, meaning in listed if word not in before.split(",")]
    return offered([(f"{start}{before}{comma}{word}", meaning) for word, meaning in fresh], f"{start}{value}")


def subjects(line: Line, current: str) -> Answer:
    """What can be explained: groups, keys and, behind a group's =, choices."""
    group, separator, value = current.partition("=")
    if separator:
        return values(line, f"{group}=", group, value)
    paths = [path for path in known_keys(line.folders) if not path.endswith("._target_")]
    found = offered([*GROUPS.items(), *((path, meaning_of(path)) for path in paths)], current)
    return found if current else found._replace(candidates=[entry for entry in found.candidates if "." not in entry[0]])
