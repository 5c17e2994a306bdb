"""Reads the space of a search from overrides in Hydra's grammar: intervals, ranges and choices."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from ch12cli.config.schema import KEYS
from ch12cli.config.settings import first_lines
from ch12cli.errors import Problem
from ch12cli.files.plain_values import is_integer
from ch12cli.rules import Number, Or, Rule, Size
from ch12cli.search.space import Condition, Interval, Options, Parameter, WholeNumbers, interval_problem

MOST_OPTIONS = 10_000  # of one key
LOG = "log"  # the tag of a logarithmic scale
TAGS = (LOG,)


def parameter_of(override: Override) -> Parameter | Problem:
    """Returns the parameter that a sweep override describes, or what is wrong with it."""
    key, value = override.get_key_element(), override.value()
    log = LOG in getattr(value, "tags", ())
    unknown = sorted(set(getattr(value, "tags", ())) - set(TAGS))
    if unknown:
        return Problem.with_override(str(override.input_line), f"there is no tag {unknown[0]}", "write tag(log, …)")
    if isinstance(value, IntervalSweep):
        return interval_of(override, value, log=log)
    if is_seed(key):
        return repetition_problem(override)
    texts = texts_of_options(override, value)
    if isinstance(texts, Problem):
        return texts
    if log:
        return Problem.with_override(str(override.input_line), "tag(log, …) is for intervals", "leave it out")
    return Options(key, texts, ordered=isinstance(value, RangeSweep) and not value.shuffle)


def interval_of(override: Override, value: IntervalSweep, *, log: bool) -> Parameter | Problem:
    """Returns the parameter of an interval. It is of whole numbers if its bounds are, or if its key takes no others."""
    assert value.start is not None
    assert value.end is not None
    key, low, high = override.get_key_element(), value.start, value.end
    if is_seed(key):
        return repetition_problem(override)
    whole = (is_integer(low) and is_integer(high)) or takes_whole_numbers(override.key_or_group)
    problem = interval_problem(key, float(low), float(high), log=log, whole=whole)
    if problem is not None:
        return problem
    return WholeNumbers(key, int(low), int(high), log) if whole else Interval(key, float(low), float(high), log)


def repetition_problem(override: Override) -> Problem:
    line = str(override.input_line)
    if override.get_key_element().endswith("fold"):
        hint = "leave it out: each setting is trained on every fold"
        return Problem.with_override(line, "a fold is no setting to search", hint)
    hint = "search.repeats=3 trains each setting with three seeds"
    return Problem.with_override(line, "a seed is no setting to search", hint)


def is_seed(key: str) -> bool:
    return key.lstrip("+") in ("seed", "dataset.fold")


def takes_whole_numbers(key: str) -> bool:
    """Returns whether ch12 allows only whole numbers for a key."""
    rule: Rule | None = KEYS[key].rule if key in KEYS else None
    while isinstance(rule, Or):
        rule = rule.rule
    return rule is not None and not isinstance(rule, Number | Size) and any(map(rule.allows, (1, 4)))


def texts_of_options(override: Override, value: Any) -> tuple[str, ...] | Problem:
    """Returns the values of a choice or range as they are typed, each once, or what is wrong with them."""
    line = str(override.input_line)
    if isinstance(value, RangeSweep):
        start, stop, step = (float(bound or 0) for bound in (value.start, value.stop, value.step))
        if not (all(map(math.isfinite, (start, stop, step))) and step):
            return Problem.with_override(line, "its bounds must be finite, and its step must not be 0")
        if (stop - start) / step > MOST_OPTIONS:
            hint = f"write {override.get_key_element()}=interval({value.start},{value.stop})"
            return Problem.with_override(line, f"has more than {MOST_OPTIONS:,} values", hint)
    elif isinstance(value, ChoiceSweep) and any(isinstance(each, IntervalSweep | RangeSweep) for each in value.list):
        return Problem.with_override(line, "an interval or range cannot be combined with other values")
    try:
        texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
    except HydraException as error:
        return Problem.with_override(line, first_lines(error))
    return texts or Problem.with_override(line, "has no values")


def conditions_of(when: Mapping[str, str]) -> dict[str, Condition]:
    """Returns conditions by key. when: texts such as `optimizer=sgd`, or `optimizer=sgd,rmsprop`."""
    parts = {key: text.partition("=") for key, text in when.items()}
    return {
        key: Condition(other.strip(), tuple(value.strip() for value in values.split(",")))
        for key, (other, _, values) in parts.items()
    }


def search_parameters(overrides: Sequence[Override], problems: list[Problem]) -> list[Parameter]:
    """Returns the parameters of the sweep overrides; the last of a key counts. Appends what is wrong."""
    found: dict[str, Parameter | Problem] = {}
    for override in overrides:
        if override.is_sweep_override():
            found[override.get_key_element()] = parameter_of(override)
        else:
            found.pop(override.get_key_element(), None)
    problems += [each for each in found.values() if isinstance(each, Problem)]
    return [each for each in found.values() if not isinstance(each, Problem)]
