"""What `ch12 --help` and `ch12 train --help` print. The second is read from the configuration files, without Hydra."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ch12cli.cli.help.page import GAP, INDENT, definitions, heading, join_pages, page_width, paragraph
from ch12cli.cli.help.verb_pages import PAGES
from ch12cli.config.choices import (
    choices,
    comments,
    default_choices,
    keys_of_choice,
    require_folders,
    shipped,
    top_level,
)
from ch12cli.config.schema import GROUPS, key_of
from ch12cli.config.values import shown

KEY_LABEL = 30  # characters that KEY=DEFAULT may take before the text goes below it
# what stands behind these options
VALUES = {"config_dir": "DIR", "config_name": "NAME", "package": "KEY", "output": "FILE"}
REFERENCE = re.compile(r"\$\{([\w.]+)\}")  # a default that is another key's value
EXAMPLE_TEXT = 46  # characters that an example's text wants beside it

# (verb that it needs, what is typed, what happens); the first of each verb are in the overview
EXAMPLES = (
    ("train", "ch12 train", "a network learns to tell iris flowers apart"),
    ("train", "ch12 train dataset=two_class model.width=8 optimizer.lr=0.01", "other data, another network"),
    ("train", "ch12 train experiment=book/iris", "the book's network, figure for figure"),
    ("train", "ch12 train -m optimizer.lr=0.001,0.01,0.1 'seed=range(10)'", "thirty networks at once"),
    ("explain", "ch12 explain optimizer.lr", "what a key means, may be and is"),
)
TRAIN_EXAMPLES = (
    ("ch12 train", "the defaults: 16 hidden units learn iris"),
    ("ch12 train epochs=50 batch_size=16 seed=2", "other values, each by its key"),
    ("ch12 train optimizer=sgd optimizer.lr=0.1 optimizer.momentum=0.9", "another choice, and values for its keys"),
    ("ch12 train 'optimizer.betas=[0.8,0.99]'", "a list, quoted for the shell"),
    ("ch12 train dataset=two_class dataset.shape=moons model.depth=2", "two hidden layers on two moons"),
    ("ch12 train experiment=book/xor_mlp model.width=8", "a preset, with a change to it"),
    ("ch12 train -m optimizer=sgd,adam optimizer.lr=0.001,0.01", "all four combinations"),
    ("ch12 train --config-dir my_conf optimizer=nadam", "a choice of your own: my_conf/optimizer/nadam.yaml"),
    ("ch12 train --config-dir my_conf --help", "this page with your own choices"),
    ("ch12 train model.width=32 --cfg job", "look at the configuration, train nothing"),
)

# What the options of `ch12 train` do, by their name in the parser.
OPTIONS = {
    "multirun": "train every combination of the values given: KEY=1,2,3 or 'KEY=range(10)'",
    "cfg": "print the composed configuration and train nothing",
    "resolve": "with --cfg: put the values in place of ${...}",
    "package": "with --cfg: show only what is below this key",
    "config_dir": "folder with files of your own, such as optimizer/mine.yaml, searched after ch12's; repeatable",
    "config_name": "name of the top configuration file, instead of config",
    "quiet": "print the run's directory alone",
    "verbose": "print more: every epoch, where the output is piped",
    "help": "this page",
}


def format_overview(verbs: Mapping[str, str]) -> str:
    """The page of `ch12 --help`. verbs: each with a line about it."""
    more = [("ch12 train --help", "every option, choice and key")]
    if "completion" in verbs:
        more.append(('eval "$(ch12 completion bash)"', "the Tab key, in bash; also in zsh and fish"))
    return join_pages(
        [
            paragraph("ch12 trains small neural networks, one or thousands at once, and keeps a record of each."),
            usage("COMMAND [WORD]..."),
            [heading("Commands"), *definitions(verbs.items())],
            [heading("Examples"), *examples((line, text) for verb, line, text in EXAMPLES if verb in verbs)],
            [heading("More"), *definitions(more, widest=32)],
        ]
    )


def format_train_help(folders: Sequence[Path]) -> str:
    """The page of `ch12 train --help`. folders: configuration folders of the user's own."""
    require_folders(folders)
    return join_pages(
        [
            usage("train [OPTION]... [GROUP=CHOICE]... [KEY=VALUE]..."),
            paragraph(
                "Trains a network and keeps a record of it in a new directory below outputs/. What is trained follows "
                f"from a choice in each group ({', '.join(GROUPS)}) and from the values of keys, all of which have a "
                "default."
            ),
            [heading("Options"), *option_lines("train")],
            [heading("Keys: KEY=VALUE"), *definitions(map(top_level_entry, top_level().items()), widest=KEY_LABEL)],
            *(block for group in GROUPS for block in group_blocks(group, folders)),
            [heading("Examples"), *examples(TRAIN_EXAMPLES)],
            [
                heading("More"),
                *definitions(
                    [
                        ("ch12 explain KEY", "a key, a group or a choice, and which file or word sets it"),
                        ("hydra.run.dir=DIR", "train into this directory; hydra.sweep.dir=DIR with -m"),
                        ("+KEY=VALUE", "add an argument that the class takes and its file does not name"),
                    ]
                ),
            ],
        ]
    )


def format_verb_help(verb: str, arguments: argparse.ArgumentParser) -> str:
    """The page of a verb. arguments: its parser."""
    page = PAGES[verb]
    return join_pages(
        [
            usage(page.usage),
            *(paragraph(text) for text in page.about),
            [heading("Options"), *definitions((option_label(a), option_meaning(a)) for a in ordered(arguments))],
            [heading("Examples"), *examples(page.examples)],
            [heading("More"), *definitions(page.more)] if page.more else [],
        ]
    )


def usage(words: str) -> list[str]:
    """How a command is typed."""
    return paragraph(f"usage: ch12 {words}", hanging=len("usage: "))


def option_lines(verb: str) -> list[str]:
    """The options of a verb, each with what it does."""
    return definitions((option_label(action), option_meaning(action)) for action in options_of(verb))


def options_of(verb: str) -> list[argparse.Action]:
    """The options of a verb, as its parser has them; none for a verb without a parser."""
    module = import_module(f"ch12cli.cli.verbs.{verb}")
    return ordered(module.parser() if hasattr(module, "parser") else argparse.ArgumentParser())


def ordered(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options of a parser, --help last."""
    return sorted(
        (action for action in parser._actions if action.option_strings), key=lambda action: action.dest == "help"
    )


def option_label(action: argparse.Action) -> str:
    """An option as it is typed: `-c, --cfg job|hydra|all`."""
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    return f"{names} {'|'.join(map(str, action.choices)) if action.choices else VALUES.get(action.dest, 'VALUE')}"


def option_meaning(action: argparse.Action) -> str:
    return action.help or OPTIONS.get(action.dest, "")


def top_level_entry(item: tuple[str, Any]) -> tuple[str, str]:
    """A key at the top with its default, and what it means and may be."""
    path, default = item
    comment = comments(shipped() / "config.yaml").get(path, "")
    same = REFERENCE.fullmatch(str(default))
    if same:
        return path, described(path, comment, f"that of {same[1]} unless set")
    return f"{path}={shown(default)}", described(path, comment)


def group_blocks(group: str, folders: Sequence[Path]) -> list[list[str]]:
    """A group: its choices, the default marked, and the keys that they have."""
    default = default_choices().get(group)
    listed = choices(group, folders)
    marked = [(f"{'*' if choice.name == default else ' '} {choice.name}", choice.meaning) for choice in listed]
    title = paragraph(f"{group}: {GROUPS[group]} (default: {default or 'none of them'})", hanging=INDENT)
    keys = [] if group == "experiment" else definitions(key_entries(group, folders), widest=KEY_LABEL)
    return [[*map(heading, title), *definitions(marked)], keys]


def key_entries(group: str, folders: Sequence[Path]) -> list[tuple[str, str]]:
    """The keys of a group's choices, each with its default, and what it means and may be, and with which choices."""
    default = default_choices().get(group)
    listed = sorted(choices(group, folders), key=lambda choice: choice.name != default)
    values: dict[str, dict[str, Any]] = {}  # of each key, by choice
    texts: dict[str, str] = {}
    for choice in listed:
        remarks = comments(choice.file)
        for path, value in keys_of_choice(choice).items():
            if not path.endswith("._target_"):
                values.setdefault(path, {})[choice.name] = value
                texts.setdefault(path, remarks.get(path.removeprefix(f"{group}."), ""))
    names = [choice.name for choice in listed]
    return [
        (f"{path}={shown(next(iter(by.values())))}", described(path, texts[path], *defaults_apart(by, names)))
        for path, by in values.items()
    ]


def defaults_apart(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """How the choices differ in a key: where its default is another, and which have it, if not all."""
    first = next(iter(values.values()))
    others: dict[str, list[str]] = {}
    for name, value in values.items():
        if value != first:
            others.setdefault(shown(value), []).append(name)
    apart = [f"default {value} with {', '.join(sorted(with_it))}" for value, with_it in others.items()]
    return apart + ([f"{', '.join(sorted(values))} only"] if len(values) < len(names) else [])


def described(path: str, comment: str, *notes: str) -> str:
    """What a key means, and in brackets what it may be. comment: of its file, for a key that ch12 does not know."""
    key = key_of(path)
    meaning = key.meaning if key else comment
    bracket = "; ".join([*([str(key.rule)] if key else []), *notes])
    return f"{meaning}\n({bracket})".strip() if bracket else meaning


def examples(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Commands to copy, with what they do beside them where there is room for all, below them otherwise."""
    entries = list(lines)
    longest = max(len(line) for line, _ in entries)
    room = page_width() - longest - INDENT - GAP >= EXAMPLE_TEXT
    if room:
        return definitions(entries, widest=longest)
    return [line for command, text in entries for line in (" " * INDENT + command, *paragraph(text, indent=3 * INDENT))]
