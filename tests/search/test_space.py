"""Spaces: values stay within their bounds, positions lead back to them, and conditions decide what applies."""

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ch12cli.search.samplers import DRAWERS
from ch12cli.search.space import (
    Condition,
    Interval,
    Options,
    Parameter,
    Space,
    WholeNumbers,
    condition_problems,
    interval_problem,
)
from ch12cli.search.study import MOST_LISTED, Study
from ch12cli.search.trial import Trial, key_of_setting

OPTIONS = ["null", "true", "'1'", "relu", "[0.9,0.99]", "[0.8,0.9]", "1e-3", "a b", "-1", "{a:1}", "''"]


def random_parameter(rng: random.Random, key: str) -> Parameter:
    kind = rng.randrange(5)
    if kind < 2:
        low = rng.choice([-1, 0, 1]) * 10 ** rng.uniform(-8, 8) if kind else 10 ** rng.uniform(-12, 12)
        high = low + abs(low or 1) * 10 ** rng.uniform(-4, 6) if rng.random() < 0.95 else low
        return Interval(key, low, high, log=not kind)
    if kind == 2:
        low_number = rng.randrange(1, 1000)
        return WholeNumbers(key, low_number, low_number + rng.randrange(10 ** rng.randrange(6)), log=rng.random() < 0.5)
    options = rng.sample(OPTIONS, rng.randrange(1, len(OPTIONS)))
    return Options(key, tuple(options), ordered=rng.random() < 0.3)


def random_space(seed: int) -> Space:
    """A space of one to six parameters, some of which apply only for a value of an earlier one."""
    rng = random.Random(seed)
    parameters = [random_parameter(rng, f"key{index}") for index in range(rng.randrange(1, 7))]
    conditions = {}
    for index, parameter in enumerate(parameters):
        above = [each for each in parameters[:index] if isinstance(each, Options)]
        if above and rng.random() < 0.5:
            other = rng.choice(above)
            conditions[parameter.key] = Condition(other.key, (rng.choice(other.options),))
    assert condition_problems(parameters, conditions) == []
    rng.shuffle(parameters)
    return Space.of(parameters, conditions)


@cache
def value_of(text: str) -> Any:
    return OverridesParser.create().parse_override(f"key={text}").value()


def is_within(parameter: Parameter, text: str) -> bool:
    """Whether Hydra reads a text as a value of the parameter, of its type and within its bounds."""
    value = value_of(text)
    if isinstance(parameter, Interval):
        return isinstance(value, float) and parameter.low <= value <= parameter.high
    if isinstance(parameter, WholeNumbers):
        return type(value) is int and parameter.low <= value <= parameter.high
    assert isinstance(parameter, Options)
    return text in parameter.options


def applicable(space: Space, setting: dict[str, str]) -> list[str]:
    """The keys that apply in a setting, by the meaning of conditions alone."""
    by_key = {parameter.key: parameter for parameter in space.parameters}

    def applies(key: str) -> bool:
        condition = space.conditions.get(key)
        return condition is None or (applies(condition.key) and setting[condition.key] in condition.values)

    return [key for key in by_key if applies(key)]


@pytest.mark.parametrize("sampler", [*DRAWERS])
@pytest.mark.parametrize("spaces", [range(20), pytest.param(range(20, 300), marks=pytest.mark.slow)])
def test_values_of_random_spaces_stay_within_their_bounds(sampler: str, spaces: range) -> None:
    for seed in spaces:
        space = random_space(seed)
        study = Study(space, DRAWERS[sampler], seed=seed, startup=8)
        by_key = {parameter.key: parameter for parameter in space.parameters}
        for _ in range(3):
            settings = study.ask(8)
            for index, setting in enumerate(settings):
                assert sorted(setting) == sorted(applicable(space, dict(setting)))
                assert all(is_within(by_key[key], text) for key, text in setting.items()), setting
                point = space.point(setting)
                assert point is not None
                assert space.setting(point) == setting
                study.add([Trial(setting, "complete", (float(index),))])
        keys = [key_of_setting(trial.setting) for trial in study.trials]
        assert len(set(keys)) == len(keys)
        if space.count <= MOST_LISTED:
            assert len(keys) == min(24, len(list(space.settings())))


def test_values_have_few_digits() -> None:
    space = Space.of([Interval("lr", 1e-5, 1.0, log=True), Interval("p", 0.0, 0.9), Interval("b", 0.999, 0.9999)])
    settings = Study(space, DRAWERS["random"]).ask(500)
    assert max(len(setting["lr"].replace("0.", "").lstrip("0")) for setting in settings) <= len("1.234e-05")
    assert max(len(setting["p"]) for setting in settings) <= len("0.1234")
    assert len({setting["b"] for setting in settings}) > 300  # rounded to a share of the width, not of the value


def test_an_interval_is_drawn_evenly_on_its_scale() -> None:
    space = Space.of([Interval("lr", 1e-4, 1.0, log=True), WholeNumbers("width", 1, 4), Options("a", ("x", "y"))])
    settings = Study(space, DRAWERS["sobol"]).ask(1024)
    exponents = np.log10([float(setting["lr"]) for setting in settings])
    assert np.histogram(exponents, bins=4, range=(-4, 0))[0] == pytest.approx([256] * 4, abs=8)
    assert np.bincount([int(setting["width"]) for setting in settings]) == pytest.approx([0, *[256] * 4], abs=8)


def test_whole_numbers_on_a_logarithmic_scale_have_equal_shares_of_it() -> None:
    parameter = WholeNumbers("width", 1, 100, log=True)
    share = [parameter.text(position) for position in np.linspace(0, 1, 10_001)].count("1") / 10_001
    assert share == pytest.approx(math.log(1.5 / 0.5) / math.log(100.5 / 0.5), abs=1e-3)


def test_a_condition_may_read_a_key_that_is_not_searched() -> None:
    parameters: Sequence[Parameter] = [Interval("momentum", 0.0, 0.9)]
    conditions = {"momentum": Condition("optimizer", ("sgd", "rmsprop"))}
    assert Space.of(parameters, conditions, fixed={"optimizer": "adam"}).setting(np.array([0.5])) == {}
    assert Space.of(parameters, conditions, fixed={"optimizer": "sgd"}).setting(np.array([0.5])) == {"momentum": "0.45"}


def test_impossible_conditions_are_problems() -> None:
    parameters: Sequence[Parameter] = [Interval("momentum", 0.0, 0.9), Options("optimizer", ("sgd", "adam"))]
    problems = condition_problems(parameters, {"momentum": Condition("optimizer", ("sdg",))})
    assert [str(problem) for problem in problems] == [
        "search.when.momentum: optimizer cannot be sdg; its values are sgd, adam"
    ]
    circle = {"momentum": Condition("optimizer", ("sgd",)), "optimizer": Condition("momentum", ("0.5",))}
    assert "circle: momentum depends on optimizer depends on momentum" in str(condition_problems(parameters, circle))
    assert "seed is not searched" in str(condition_problems(parameters, {"seed": Condition("optimizer", ("sgd",))}))


@pytest.mark.parametrize(
    ("low", "high", "log", "whole", "rule"),
    [
        (1.0, 0.5, False, False, "must not be greater"),
        (0.0, 1.0, True, False, "starts above 0"),
        (0.0, 8.0, True, True, "starts at 1"),
        (0.5, 8.0, False, True, "must be whole numbers"),
        (0.0, math.inf, False, False, "must be finite"),
        (-1.7e308, 1.7e308, False, False, "must be finite"),
    ],
)
def test_a_wrong_interval_is_a_problem(low: float, high: float, *, log: bool, whole: bool, rule: str) -> None:
    assert rule in str(interval_problem("optimizer.lr", low, high, log=log, whole=whole))
    assert interval_problem("optimizer.lr", 1.0, 2.0, log=log, whole=whole) is None
