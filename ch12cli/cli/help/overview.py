"""The pages of `ch12 --help` and `ch12 train --help`, generated from the configuration files without Hydra."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ch12cli.cli.help.page import GAP, INDENT, definitions, heading, join_pages, page_width, paragraph
from ch12cli.cli.help.verb_pages import PAGES
from ch12cli.config.choices import (
    choices_of_group,
    comments,
    comments_in,
    default_choices,
    is_alias,
    keys_of_choice,
    require_folders,
    shipped,
    top_level,
)
from ch12cli.config.schema import GROUPS, key_of
from ch12cli.config.values import shown
from ch12cli.shell import shell_word

KEY_LABEL = 30  # characters of KEY=DEFAULT; the text of a longer one goes below it
# the placeholders of the values of these options
VALUES = {"config_dir": "DIR", "config_name": "NAME", "package": "KEY", "output": "FILE"}
REFERENCE = re.compile(r"\$\{([\w.]+)\}")  # a default that refers to another key
EXAMPLE_TEXT = 46  # characters that the text beside an example needs

# (verb, command, what it does)
EXAMPLES = (
    ("train", "ch12 train", "trains a classifier of iris flowers"),
    ("train", "ch12 train dataset=two_class model.width=8 optimizer.lr=0.01", "other data, another network"),
    ("train", "ch12 train experiment=book/iris", "the book's network, with the same results"),
    ("train", "ch12 train -m optimizer.lr=0.001,0.01,0.1 'seed=range(10)'", "thirty networks at once"),
    ("explain", "ch12 explain optimizer.lr", "the meaning, the allowed values and the value of a key"),
)
TRAIN_EXAMPLES = (
    ("ch12 train", "the defaults: iris, one hidden layer of 16 units"),
    ("ch12 train epochs=50 batch_size=16 seed=2", "other values of some keys"),
    ("ch12 train optimizer=sgd optimizer.lr=0.1 optimizer.momentum=0.9", "another optimizer, with values for its keys"),
    ("ch12 train 'optimizer.betas=[0.8,0.99]'", "a list, quoted for the shell"),
    ("ch12 train dataset=two_class dataset.shape=moons model.depth=2", "two hidden layers on two moons"),
    ("ch12 train experiment=book/xor_mlp model.width=8", "a preset, with one change"),
    ("ch12 train -m optimizer=sgd,adam optimizer.lr=0.001,0.01", "all four combinations"),
    ("ch12 train --config-dir my_conf optimizer=nadam", "your own choice: my_conf/optimizer/nadam.yaml"),
    ("ch12 train --config-dir my_conf --help", "this page, with your own choices"),
    ("ch12 train model.width=32 --cfg job", "prints the configuration and trains nothing"),
)

# The parts of the page of `ch12 train --help`.
TRAIN_CONTENTS = (
    ("Options", "compose, plan, print, train many"),
    ("Keys", "epochs, batch_size, seed, and the other keys at the top"),
    ("Groups", f"{', '.join(GROUPS)}: their choices and keys; `ch12 explain GROUP` shows one alone"),
    ("Examples", "commands to copy"),
    ("More", "Hydra's keys"),
)

# What the options of `ch12 train` do, by their name in the parser.
OPTIONS = {
    "multirun": "train every combination of the values given: KEY=1,2,3 or 'KEY=range(10)'",
    "cfg": "print the composed configuration and train nothing",
    "resolve": "with --cfg: replace ${...} by the values",
    "package": "with --cfg: print only the part below this key",
    "config_dir": "a folder of your own files, such as optimizer/mine.yaml; may be repeated",
    "config_name": "the name of the top configuration file (default: config)",
    "quiet": "print only the run's directory",
    "verbose": "print more: every epoch, even into a pipe",
    "help": "this page",
}


def format_overview(verbs: Mapping[str, str]) -> str:
    """The page of `ch12 --help`. verbs: each with one line about it."""
    more = [("ch12 train --help", "every option, choice and key")]
    if "completion" in verbs:
        more.append(('eval "$(ch12 completion bash)"', "switches on tab completion in bash; also for zsh and fish"))
    return join_pages(
        [
            paragraph("ch12 trains small neural networks, one or thousands at once, and records each run."),
            usage("COMMAND [WORD]..."),
            [heading("Commands"), *definitions(verbs.items())],
            [heading("Examples"), *examples((line, text) for verb, line, text in EXAMPLES if verb in verbs)],
            [heading("More"), *definitions(more, widest=32)],
        ]
    )


def format_train_help(folders: Sequence[Path]) -> str:
    """The page of `ch12 train --help`. folders: the user's own configuration folders."""
    require_folders(folders)
    return join_pages(
        [
            usage("train [OPTION]... [GROUP=CHOICE]... [KEY=VALUE]..."),
            paragraph(
                "Trains a network and records the run in a new directory in outputs/. The configuration consists of a "
                f"choice in each group ({', '.join(GROUPS)}) and of the values of keys. Every key has a default."
            ),
            [heading("Contents"), *definitions(TRAIN_CONTENTS)],
            [heading("Options"), *option_lines("train")],
            [heading("Keys: KEY=VALUE"), *definitions(map(top_level_entry, top_level().items()), widest=KEY_LABEL)],
            *(block for group in GROUPS for block in group_blocks(group, folders)),
            [heading("Examples"), *examples(TRAIN_EXAMPLES)],
            [
                heading("More"),
                *definitions(
                    [
                        (
                            "ch12 explain KEY",
                            "explains a key, a group or a choice, and names the file or override that sets it",
                        ),
                        ("hydra.run.dir=DIR", "sets the run's directory; with -m, hydra.sweep.dir=DIR"),
                        ("+KEY=VALUE", "adds an argument that the class accepts and its file does not list"),
                    ]
                ),
            ],
        ]
    )


def format_verb_help(verb: str, arguments: argparse.ArgumentParser) -> str:
    """The help page of a verb. arguments: its parser."""
    page = PAGES[verb]
    return join_pages(
        [
            usage(page.usage),
            *(paragraph(text) for text in page.about),
            [
                heading("Options"),
                *definitions((option_label(a), option_meaning(a)) for a in options_in_order(arguments)),
            ],
            *(
                [heading(f"Values of {action.option_strings[0]}"), *definitions(action.choices.items())]
                for action in options_in_order(arguments)
                if isinstance(action.choices, dict)
            ),
            [heading("Examples"), *examples(page.examples)],
            [heading("More"), *definitions(page.more)] if page.more else [],
        ]
    )


def usage(command: str) -> list[str]:
    """The line that shows how a command is typed."""
    return paragraph(f"usage: ch12 {command}", hanging=len("usage: "))


def option_lines(verb: str) -> list[str]:
    """The options of a verb with their meanings, as lines."""
    return definitions((option_label(action), option_meaning(action)) for action in options_of(verb))


def options_of(verb: str) -> list[argparse.Action]:
    """The options of a verb, as its parser has them; none for a verb without a parser."""
    module = import_module(f"ch12cli.cli.verbs.{verb}")
    return options_in_order(module.parser() if hasattr(module, "parser") else argparse.ArgumentParser())


def options_in_order(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options of a parser, --help last."""
    return sorted(
        (action for action in parser._actions if action.option_strings), key=lambda action: action.dest == "help"
    )


def option_label(action: argparse.Action) -> str:
    """An option as it is typed: `-c, --cfg job|hydra|all`. A dictionary of choices has a list of its own."""
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    if action.choices and not isinstance(action.choices, dict):
        return f"{names} {'|'.join(map(str, action.choices))}"
    return f"{names} {action.metavar or VALUES.get(action.dest, 'VALUE')}"


def option_meaning(action: argparse.Action) -> str:
    """The meaning of an option."""
    return action.help or OPTIONS.get(action.dest, "")


def top_level_entry(item: tuple[str, Any]) -> tuple[str, str]:
    """A top-level key with its default, its meaning and the values it allows."""
    path, default = item
    comment = comments_in(shipped() / "config.yaml").get(path, "")
    same = REFERENCE.fullmatch(str(default))
    if same:
        return path, describe_key(path, comment, f"that of {same[1]} unless set")
    return shell_word(f"{path}={shown(default)}"), describe_key(path, comment)


def group_blocks(group: str, folders: Sequence[Path]) -> list[list[str]]:
    """A group: its choices, with the default marked, and their keys."""
    default = default_choices().get(group)
    listed = choices_of_group(group, folders)
    marked = [(f"{'*' if choice.name == default else ' '} {choice.name}", choice.meaning) for choice in listed]
    title = paragraph(f"{group}: {GROUPS[group]} (default: {default or 'none of them'})", hanging=INDENT)
    keys = [] if group == "experiment" else definitions(key_entries(group, folders), widest=KEY_LABEL)
    return [[*map(heading, title), *definitions(marked)], keys]


def key_entries(group: str, folders: Sequence[Path]) -> list[tuple[str, str]]:
    """The keys of a group's choices: default, meaning, allowed values, and the choices that have them."""
    default = default_choices().get(group)
    own = [choice for choice in choices_of_group(group, folders) if not is_alias(choice)]
    listed = sorted(own, key=lambda choice: choice.name != default)
    values: dict[str, dict[str, Any]] = {}  # of each key, by choice
    texts: dict[str, str] = {}
    for choice in listed:
        remarks = comments(choice)
        for path, value in keys_of_choice(choice).items():
            if not path.endswith("._target_"):
                values.setdefault(path, {})[choice.name] = value
                texts.setdefault(path, remarks.get(path.removeprefix(f"{group}."), ""))
    names = [choice.name for choice in listed]
    return [
        (
            shell_word(f"{path}={shown(next(iter(by.values())))}"),
            describe_key(path, texts[path], *split_defaults(by, names)),
        )
        for path, by in values.items()
    ]


def split_defaults(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The other defaults of a key with their choices, and the choices that have it, if not all have."""
    first = next(iter(values.values()))
    others: dict[str, list[str]] = {}
    for name, value in values.items():
        if value != first:
            others.setdefault(shown(value), []).append(name)
    differing = [f"default {value} with {', '.join(sorted(with_it))}" for value, with_it in others.items()]
    return differing + ([f"{', '.join(sorted(values))} only"] if len(values) < len(names) else [])


def describe_key(path: str, comment: str, *notes: str) -> str:
    """The meaning of a key, and in brackets the values it allows. comment: from its file, for an unknown key."""
    key = key_of(path)
    meaning = key.meaning if key else comment
    bracket = "; ".join([*([str(key.rule)] if key else []), *notes])
    return f"{meaning}\n({bracket})".strip() if bracket else meaning


def examples(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Commands to copy, with their meanings beside them if there is room for all, otherwise below."""
    entries = list(lines)
    longest = max(len(line) for line, _ in entries)
    room = page_width() - longest - INDENT - GAP >= EXAMPLE_TEXT
    if room:
        return definitions(entries, widest=longest)
    return [line for command, text in entries for line in (" " * INDENT + command, *paragraph(text, indent=3 * INDENT))]
