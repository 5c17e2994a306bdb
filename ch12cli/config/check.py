"""Checks composed settings before any data are read. Does not import torch."""

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from ch12cli.config.choices import Choice, choices_of_group, find_choice, keys_of_choice, top_level
from ch12cli.config.combinations import device_problems, problems_of
from ch12cli.config.run_settings import SPLIT_DEFAULTS
from ch12cli.config.schema import GROUPS, INSTANTIATION, key_of
from ch12cli.config.settings import default_of
from ch12cli.config.targets import arguments_in_source
from ch12cli.config.unknown import is_users_own, no_such_key, owners
from ch12cli.config.values import MANDATORY, SPELLINGS, read_as, shown
from ch12cli.errors import Problem
from ch12cli.files.hydra_folder import put
from ch12cli.files.plain_values import is_integer
from ch12cli.rules import LARGEST, Rule, describe_choices, describe_rule
from ch12cli.suggest import nearest, suggestion

REQUIRED = tuple(group for group in GROUPS if group != "experiment")
OFFERED = ("inputs", "outputs", "shape", "activation")  # network arguments that ch12 supplies itself


@dataclass(frozen=True)
class KeyProblems:
    """The problems with single keys of some settings: missing keys, wrong values by dotted key, unknown keys."""

    missing: tuple[Problem, ...] = ()
    wrong: Mapping[str, Problem] = field(default_factory=dict)
    unknown: tuple[Problem, ...] = ()

    @staticmethod
    def of(settings: Mapping[str, Any], choices: Mapping[str, str | None]) -> "KeyProblems":
        """Returns the problems with the keys of composed settings."""
        return KeyProblems(
            tuple(missing(settings, choices)),
            wrong_values(leaves(settings), choices),
            tuple(unknown_keys(settings, choices)),
        )

    def changed(self, changes: Mapping[str, Any], choices: Mapping[str, str | None]) -> "KeyProblems":
        """Returns the problems after the values of some keys were changed. No key was added, and no target changed."""
        kept = {path: problem for path, problem in self.wrong.items() if path not in changes}
        return replace(self, wrong={**kept, **wrong_values(changes.items(), choices)})


def check(
    settings: Mapping[str, Any], choices: Mapping[str, str | None], *, check_device: bool = True
) -> list[Problem]:
    """Returns every problem in composed settings.

    choices: the choice of each group, used to name its file in messages.
    check_device: whether the run trains on this machine; if so, the device is checked too.
    """
    return all_problems(settings, choices, KeyProblems.of(settings, choices), check_device=check_device)


def all_problems(
    settings: Mapping[str, Any], choices: Mapping[str, str | None], of_keys: KeyProblems, *, check_device: bool = True
) -> list[Problem]:
    """Returns the problems with single keys, which are given, and those of values that conflict with each other."""
    wrong = dict(of_keys.wrong)
    stopping = settings.get("early_stopping")
    if isinstance(stopping, Mapping) and stopping.get("metric") == settings.get("monitor"):  # reported for monitor
        wrong.pop("early_stopping.metric", None)
    found = [*of_keys.missing, *wrong.values(), *of_keys.unknown]
    if of_keys.missing:
        return found
    # Invalid values are replaced by defaults before combinations are checked: each mistake gives one message.
    corrected = with_defaults(settings, wrong, choices) if wrong else settings
    combined = problems_of(corrected) + (device_problems(corrected) if check_device else [])
    return found + [problem for problem in combined if problem.key not in wrong]


def wrong_values(values: Iterable[tuple[str, Any]], choices: Mapping[str, str | None]) -> dict[str, Problem]:
    """Returns the problems with single values, by dotted key."""
    found = {path: value_problem(path, value, choices) for path, value in values}
    return {path: problem for path, problem in found.items() if problem is not None}


def with_defaults(
    settings: Mapping[str, Any], paths: Iterable[str], choices: Mapping[str, str | None]
) -> dict[str, Any]:
    """Returns a copy of settings in which the keys in `paths` have ch12's default values."""
    copy = deepcopy(dict(settings))
    for path in paths:
        group = path.partition(".")[0]
        choice = find_choice(group, choices.get(group) or "") if group in GROUPS else None
        put(copy, path, keys_of_choice(choice).get(path) if choice else default_of(path))
    return copy


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and value of each setting.

    A mapping under a key that takes a single value is yielded as that key's (invalid) value.
    """
    for name, value in node.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and key_of(path) is None:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def missing(settings: Mapping[str, Any], choices: Mapping[str, str | None]) -> list[Problem]:
    """Returns a problem for each required group or key that was deleted or never given."""
    problems = []
    for group in REQUIRED:
        node = settings.get(group)
        if not choices.get(group):
            names = ", ".join(choice.name for choice in choices_of_group(group))
            problems.append(Problem(group, None, "missing", f"choose one of {names}"))
        elif not isinstance(node, Mapping | None):
            rule = f"must hold keys, _target_ among them, not a {_kind(node)}"
            problems.append(Problem(f"{group}/{choices[group]}.yaml", None, rule))
        elif "_target_" not in (node or {}):
            file = f"{group}/{choices.get(group)}.yaml"
            hint = "it names what is built, such as _target_: torch.nn.ReLU"
            paths = [path for path, _ in leaves(settings) if path.endswith("._target_")]
            if other := [
                path for path in paths if path.partition(".")[0] not in GROUPS
            ]:  # where a package line puts it
                line = f"# @package {other[0].removesuffix('._target_')}"
                hint += f"; if {file} has it below `{line}`, leave that line out"
            problems.append(Problem(f"{group}._target_", None, f"missing in {file}", hint))
    present = {path for path, _ in leaves(settings)}
    for key in top_level():
        head = key.partition(".")[0]
        if key in present:
            continue
        if head in settings and not isinstance(settings[head], Mapping):
            keys = [name for name in top_level() if name.startswith(f"{head}.")]
            hint = f"set {' or '.join(keys)}"
            problems.append(Problem(head, shown(settings[head]), "holds keys of its own", hint))
        else:
            problems.append(Problem(key, None, "missing", "it cannot be taken out"))
    return list(dict.fromkeys(problems))


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "single value"


def value_problem(path: str, value: Any, choices: Mapping[str, str | None]) -> Problem | None:
    """Returns the problem with one value, or None if it is valid."""
    key = key_of(path)
    if value == MANDATORY:
        return Problem(
            path, None, "must be given", f"add {path}=..." + (f", {describe_rule(path, key.rule)}" if key else "")
        )
    if key is None or key.rule.allows(value):
        return None
    rule = f"must be {describe_rule(path, key.rule)}{unsaid_bound(key.rule, value)}"
    return Problem(path, shown(value), rule, hint(key.rule, value), default_source(path, choices))


def unsaid_bound(rule: Rule, value: Any) -> str:
    """Returns the implicit bound that a value violates, which its rule's text omits; else an empty string."""
    if isinstance(value, float) and not math.isfinite(value):
        return ", and finite"
    if is_integer(value) and abs(value) > LARGEST and rule.allows(LARGEST) and not rule.allows(LARGEST + 1):
        return f", and at most {LARGEST}"
    return ""


MOST_DIGITS = 18  # of an integer in 64 bits


def hint(rule: Rule, value: Any) -> str:
    """Returns a suggested replacement for an invalid value, or an empty string if none is evident."""
    if isinstance(value, float) and value.is_integer() and rule.allows(int(value)):
        return f"write {int(value)}"
    if not isinstance(value, str):
        return ""
    meant = probable_value(value)
    if not isinstance(meant, str) and rule.allows(meant):
        return f"write {shown(meant)}" + (", without quotes" if shown(meant) == value else "")
    return suggestion(value, describe_choices(rule))


def probable_value(text: str) -> Any:
    """Returns the value that a text probably stands for; the text itself if there is none.

    YAML reads 010 as the octal number 8 and 1:30 as 90, which nobody means.
    """
    digits = text.lstrip("+-")
    if digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS:
        return int(text) if len(text) - len(digits) <= 1 else text
    return text if ":" in text else SPELLINGS.get(text.lower(), read_as(text))


def default_source(path: str, choices: Mapping[str, str | None]) -> str:
    """Returns the file that holds a key's default, such as `conf/optimizer/sgd.yaml`."""
    group = path.partition(".")[0]
    name = choices.get(group)
    if name is None or group not in GROUPS:
        return "conf/config.yaml"
    return f"conf/{group}/{name}.yaml" if find_choice(group, name) else f"{group}/{name}.yaml"


def unknown_keys(settings: Mapping[str, Any], choices: Mapping[str, str | None]) -> list[Problem]:
    """Returns a problem for each key added with + that is probably a mistake.

    Such a key resembles a shipped key, belongs to another choice, or is no argument of the group's target. If the
    target's source does not give its arguments, they are checked later, when the target is built.
    """
    known = [*top_level(), *GROUPS]
    there = [path for path, _ in leaves({group: settings[group] for group in REQUIRED if group in settings})]
    heads = {*REQUIRED, *(key.partition(".")[0] for key in top_level())}
    problems = [
        no_such_key(path, path, known=[*known, *there], choices=choices)
        for path, _ in leaves(settings)
        if path not in known
        and path not in heads
        and path.partition(".")[0] not in REQUIRED
        and not is_users_own(path, choices)
    ]
    for group in REQUIRED:
        node = settings.get(group)
        target = node.get("_target_") if isinstance(node, Mapping) else None
        shipped = [choice for choice in choices_of_group(group) if _target(choice) == target]
        if not shipped:
            continue
        common = [f"dataset.{name}" for name in SPLIT_DEFAULTS] if group == "dataset" else []
        has = sorted(set(common).union(*(keys_of_choice(choice) for choice in shipped)))
        for path, _ in leaves({group: node}):
            if path in has or path.split(".")[1] in INSTANTIATION:
                continue
            if nearest(path, has) or owners(path):
                problems.append(no_such_key(path, path, known=has, choices=choices))
            elif (takes := arguments_in_source(str(target))) is not None and path.split(".")[1] not in takes:
                listing = ", ".join(name for name in takes if name not in OFFERED) or "none"
                near = suggestion(path.split(".")[1], takes) or f"it has {listing}"
                problems.append(Problem(path, None, f"{target} has no such argument", near))
    return problems


def _target(choice: Choice) -> Any:
    return keys_of_choice(choice).get(f"{choice.group}._target_")
