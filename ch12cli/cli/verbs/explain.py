"""`ch12 explain`: describes a key, group or choice, its allowed values, and the source of its value."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments
from ch12cli.cli.help.overview import KEY_LABEL, REFERENCE, describe_key
from ch12cli.cli.help.page import definitions, heading, join_pages, paragraph
from ch12cli.config.choices import (
    Choice,
    choices_of_group,
    chosen_by,
    comments,
    find_choice,
    is_alias,
    is_preset,
    keys_of_choice,
    known_keys,
    top_level,
)
from ch12cli.config.schema import GROUPS, HYDRA_KEYS, LAUNCHER_KEYS, PREFIX_OF_LAUNCHER, key_of
from ch12cli.config.values import MANDATORY, shown
from ch12cli.errors import InputError
from ch12cli.files.hydra_folder import flatten
from ch12cli.rules import describe_rule
from ch12cli.shell import shell_line, shell_word
from ch12cli.suggest import did_you_mean

if TYPE_CHECKING:
    from ch12cli.config.explain import Setting, Traced


def parser() -> Arguments:
    arguments = Arguments("explain")
    arguments.add_argument("-cd", "--config-dir", type=Path, action="append", default=[])
    arguments.add_argument("-cn", "--config-name", default="config")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("nothing to explain; name a key, a group or a choice, as in `ch12 explain optimizer.lr`")
    from ch12cli.config.compose import Composer, working_directory
    from ch12cli.config.explain import Traced
    from ch12cli.config.hydra_internals import hydra_session

    name, *overrides = sorted(options.operands, key=lambda word: "=" in word)  # the name may be at any position
    key, _, value = name.partition("=")
    if value and key not in GROUPS:  # optimizer.lr=0.1 asks about the key with this value
        name, overrides = key.lstrip("+"), [*overrides, name]
    working_directory()
    with hydra_session():
        composer = Composer(options.config_dir, config_name=options.config_name)
        print(format_explanation(name, Traced(composer, overrides)))
    return 0


def format_explanation(name: str, traced: "Traced") -> str:
    """Returns the page about a name. Raises InputError with suggestions if the name is unknown."""
    if name.startswith("search.") and (page := search_key_page(name)):
        return page
    if name.startswith(PREFIX_OF_LAUNCHER) and (page := launcher_key_page(name, traced)):
        return page
    keys = known_keys(traced.folders) | dict(flatten(traced.composition.settings))
    found = identify(name, keys, traced)
    if isinstance(found, Choice):
        return choice_page(found, traced)
    if found in GROUPS:
        return group_page(found, traced)
    inside = [key for key in keys if key.startswith(f"{found}.")]
    return branch_page(found, inside, traced) if inside and key_of(found) is None else key_page(found, traced)


def search_key_page(name: str) -> str:
    """Returns the page of a key of a search; empty for another name."""
    from ch12cli.search.settings import PREFIX, SEARCH_KEYS  # imports numpy

    key = SEARCH_KEYS.get(name.removeprefix(PREFIX))
    if key is None:
        return ""
    entries = [("may be", str(key.rule)), ("used by", "ch12 train -m, of which it makes a search")]
    return join_pages([[heading(name), *paragraph(key.meaning, indent=2)], definitions(entries)])


def launcher_key_page(path: str, traced: "Traced") -> str:
    """Returns the page of a key of one of ch12's launchers, the chosen one if it has the key; empty for another key."""
    name, chosen = path.removeprefix(PREFIX_OF_LAUNCHER), traced.choice("hydra/launcher").text
    having = [launcher for launcher, keys in LAUNCHER_KEYS.items() if name in keys]
    having.sort(key=lambda launcher: launcher != chosen)  # the chosen one first
    if not having:
        return ""
    key = LAUNCHER_KEYS[having[0]][name]
    entries = [("may be", describe_rule(path, key.rule)), ("used by", f"ch12 train -m hydra/launcher={having[0]}")]
    if having[0] == chosen:
        entries += value_entries(path, traced.settings(path), traced)
    else:
        entries += [("value", f"none: hydra/launcher={chosen}, which has no such key, is chosen")]
    return join_pages([[heading(path), *paragraph(key.meaning, indent=2)], definitions(entries)])


def identify(name: str, keys: Iterable[str], traced: "Traced") -> str | Choice:
    """Returns the key, group, key prefix or choice that a name refers to. The last part of a key is enough.

    Raises InputError if the name is unknown or ambiguous.
    """
    if name in GROUPS or any(key == name or key.startswith(f"{name}.") for key in keys) or traced.settings(name):
        return name
    group, separator, choice = name.partition("=" if "=" in name else "/")
    if separator and group in GROUPS:
        return chosen_choice(group, choice, traced.folders)
    by_tail: list[str | Choice] = [key for key in keys if key.endswith(f".{name}")]
    by_tail += [made for group in GROUPS if (made := find_choice(group, name, traced.folders))]
    if len(by_tail) == 1:
        return by_tail[0]
    known = [*keys, *GROUPS, *(typed(choice) for group in GROUPS for choice in choices_of_group(group, traced.folders))]
    if by_tail:
        raise InputError(f"{name}: there are several; which of {', '.join(map(typed, by_tail))}?")
    raise InputError(f"{name}: no such key, group or choice{did_you_mean(name, known) or '; see `ch12 train --help`'}")


def chosen_choice(group: str, name: str, folders: Sequence[Path]) -> Choice:
    """Returns the choice with that name. Raises InputError with suggestions if there is none."""
    choice = find_choice(group, name, folders)
    if choice is None:
        names = [choice.name for choice in choices_of_group(group, folders)]
        hint = did_you_mean(name, names) or f"; choose one of {', '.join(names)}"
        raise InputError(f"{group}={name}: no such choice{hint}")
    return choice


def typed(name: str | Choice) -> str:
    """Returns a name as typed on the command line."""
    return name if isinstance(name, str) else f"{name.group}={name.name}"


def key_page(path: str, traced: "Traced") -> str:
    """Returns the page of a key: its meaning, allowed values, default, current value and the sources of that value."""
    group = path.partition(".")[0]
    selected = traced.choice(group) if group in GROUPS else None
    listed = choices_of_group(group, traced.folders) if selected else []
    chosen = selected.text if selected else ""
    having = [choice for choice in listed if path in keys_of_choice(choice)]
    having = [choice for choice in having if choice.name == chosen or not is_alias(choice)]
    having.sort(key=lambda choice: choice.name != chosen)  # sort the chosen one first
    meaning = meaning_of(path, having)
    defaults = default_text(path, having)
    entries = [("may be", rule_text(path, having)), *([("default", defaults)] if defaults else [])]
    settings = traced.settings(path)
    if settings:
        entries += value_entries(path, settings, traced)
    elif (value := traced.value(path)) is not None and value[0] != MANDATORY:
        entries += [("value", shown(value[0])), ("set by", "ch12, for a choice whose file does not have the key")]
    elif selected and having:
        none = f"{group}={selected.text}, which has no such key, is chosen, by {selected.source}"
        if selected.text == "null":
            none = f"no {group} is chosen, by {selected.source}"
        if selected.text == having[0].name:
            none = "it must be given"
        entries += [
            ("value", f"none: {none}"),
            ("try", shell_line(traced.example(having[0], path))),
        ]
    else:
        entries.append(("value", f"none: {traced.path_of(traced.primary)} has no such key"))
    return join_pages([[heading(path), *paragraph(meaning, indent=2)], definitions(entries)])


def meaning_of(path: str, having: Sequence[Choice]) -> str:
    """Returns the meaning of a key.

    For a key unknown to ch12, it is the comment beside the key in the first file that has it.
    """
    key = key_of(path)
    if key is not None:
        return key.meaning
    if path in HYDRA_KEYS:
        return HYDRA_KEYS[path]
    remarks = [comments(choice).get(path.removeprefix(f"{choice.group}."), "") for choice in having]
    return next((remark for remark in remarks if remark), "")


def rule_text(path: str, having: Sequence[Choice]) -> str:
    """Returns the allowed values of a key."""
    key = key_of(path)
    if key is not None:
        return describe_rule(path, key.rule)
    targets = dict.fromkeys(str(keys_of_choice(choice).get(f"{choice.group}._target_")) for choice in having)
    return f"whatever {' or '.join(targets)} takes" if targets else "any value: ch12 does not check it"


def default_text(path: str, having: Sequence[Choice]) -> str:
    """Returns a key's default, listed by choice if it differs between choices.

    The text is empty if ch12 has no default for it.
    """
    if not having:
        return reference_text(shown(top_level()[path])) if path in top_level() else ""
    by_value: dict[str, list[str]] = {}
    for choice in having:
        value = keys_of_choice(choice)[path]
        by_value.setdefault("none, it must be given" if value == MANDATORY else shown(value), []).append(choice.name)
    return "; ".join(f"{reference_text(value)} with {', '.join(names)}" for value, names in by_value.items())


def reference_text(value: str) -> str:
    """Returns a value as typed, or a reference to the key it is copied from."""
    same = REFERENCE.fullmatch(value)
    return f"that of {same[1]}" if same else value


def value_entries(path: str, settings: "Sequence[Setting]", traced: "Traced") -> list[tuple[str, str]]:
    """Returns the key's value in this run, the source that set it, and the overridden sources, latest first."""
    *before, last = settings
    value = traced.value(path)
    text = last.text if value is None else shown(value[0])
    reference = f", {reference_text(last.text)}" if REFERENCE.fullmatch(last.text) else ""
    entries = [("value", f"{text}{reference}"), ("set by", last.source)]
    key = key_of(path)
    if value is not None and key is not None and not key.rule.allows(value[0]):
        entries.append(("refused", f"must be {describe_rule(path, key.rule)}"))
    labels = ["instead of", *[""] * len(before)]
    return entries + [
        (label, f"{setting.text}, by {setting.source}")
        for label, setting in zip(labels, reversed(before), strict=False)
    ]


def group_page(group: str, traced: "Traced") -> str:
    """Returns the page of a group: its choices, with the chosen one marked, and the source of the choice."""
    selected = traced.choice(group)
    marked = [
        (f"{'*' if choice.name == selected.text else ' '} {choice.name}", choice.meaning)
        for choice in choices_of_group(group, traced.folders)
    ]
    choice = find_choice(group, selected.text, traced.folders)
    keys = [path for path in keys_of_choice(choice) if not path.endswith("._target_")] if choice else []
    entries = [
        ("chosen", f"{selected.text if choice else 'none'}, by {selected.source}"),
        *([("its keys", ", ".join(keys) or "none")] if choice else []),
        ("more", f"ch12 explain {group}=CHOICE"),
    ]
    return join_pages([[heading(f"{group}: {GROUPS[group]}"), *definitions(marked)], definitions(entries)])


def choice_page(choice: Choice, traced: "Traced") -> str:
    """Returns the page of a choice: what it builds or sets, its keys, and whether it is chosen."""
    selected = traced.choice(choice.group)
    values = keys_of_choice(choice)
    made = [f"{group}={name}" for group, name in chosen_by(choice).items()]
    target = values.pop(f"{choice.group}._target_", None)
    other = "none" if selected.text == "null" else selected.text
    state = f"yes, by {selected.source}" if selected.text == choice.name else f"no: {other} is, by {selected.source}"
    entries = [
        *([("builds", str(target))] if "." in str(target) else []),
        *([("chooses", " ".join(made))] if made else []),
        ("file", str(choice.file)),
        ("chosen", state),
        ("to train", shell_line(traced.example(choice))),
    ]
    return join_pages(
        [
            [heading(typed(choice)), *paragraph(choice.meaning, indent=2)],
            definitions(entries),
            definitions(
                ((shell_word(f"{path}={shown(value)}"), described_in(path, choice)) for path, value in values.items()),
                widest=KEY_LABEL,
            ),
        ]
    )


def described_in(path: str, choice: Choice) -> str:
    """Returns a key's meaning, taken from the choice's own file if it has a comment.

    The allowed values are appended, except for a preset.
    """
    remark = comments(choice).get(path.removeprefix(f"{choice.group}."), "")
    key = key_of(path)
    if is_preset(choice):
        return remark or (key.meaning if key else "")
    return f"{remark}\n({key.rule})" if remark and key else describe_key(path, remark)


def branch_page(stem: str, paths: Sequence[str], traced: "Traced") -> str:
    """Returns the page of keys with a common prefix, such as early_stopping, with their values."""
    entries = [
        (shell_word(f"{path}={shown(value[0])}") if (value := traced.value(path)) else path, describe_key(path, ""))
        for path in paths
    ]
    return join_pages([[heading(stem), *definitions(entries, widest=KEY_LABEL)]])
