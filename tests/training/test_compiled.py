"""The compiled step of a stack against the same runs alone."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ch12cli.training.compiled import CannotCompileError, CompiledStep, pays
from tests.sweep.driver import Together, alone, one_thread, relative, settings_of, stack_of
from tests.training.test_stack import LIKE_ALONE, NETWORKS, OPTIMIZERS, TASKS, cases, named, settings_of_case

NARROW_CASES = [case for case in cases() if NETWORKS[case[-1]] != "mlp wide"]


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ch12cli.training.stack.NARROW", math.inf)


def compiled_stack(settings: list[dict[str, Any]]) -> Together:
    together = stack_of(settings)
    together.training.compiled = CompiledStep(together.training)
    return together


def compiled_functions() -> int:
    from torch._dynamo.utils import counters  # which takes two seconds to import

    return int(counters["stats"]["unique_graphs"])


def assert_like_alone(settings: list[dict[str, Any]]) -> None:
    together = compiled_stack(settings)
    before = compiled_functions()
    together.go(settings[0]["epochs"])
    assert compiled_functions() == before  # one function serves every step
    assert_runs_alone(together, settings)


def assert_runs_alone(together: Together, settings: list[dict[str, Any]]) -> None:
    """Each run of a stack that was trained to the end is the run alone, and not the one beside it."""
    epochs = settings[0]["epochs"]
    for run, single in enumerate(settings):
        training, network = alone(single, together.task)
        for number in range(epochs):
            epoch = training.one_epoch()
            for name, value in epoch.columns.items():
                assert name == "seconds" or relative(together.epochs[number].columns[name][run], value[0]) < LIKE_ALONE
            assert together.epochs[number].stopped[run] == epoch.stopped[0]
        assert relative(together.weights[-1][run], network.parameters) < LIKE_ALONE
    assert relative(together.weights[-1][0], together.weights[-1][1]) > 1e-3


def test_every_optimiser_meets_every_loss() -> None:
    by_both = {(case[0], case[1]) for case in cases()}
    assert len(by_both) == len(TASKS) * len(OPTIMIZERS)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=named)
def test_each_run_of_a_compiled_stack_is_the_run_alone(case: tuple[int, ...]) -> None:
    assert_like_alone(settings_of_case(case))


# of the same, two that together have classes and values, clipping of both kinds, early stopping, values of each run
@pytest.mark.parametrize("name", ["iris-cross_entropy-adam-", "toy_regression-huber-adamw-"])
def test_some_runs_of_a_stack_traced_for_the_compiler_are_the_runs_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling it takes ten seconds: here torch carries out what it would compile."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    (case,) = [case for case in NARROW_CASES if named(case).startswith(name)]
    assert_like_alone(settings_of_case(case))


def shrinking(runs: int, **values: Any) -> list[dict[str, Any]]:
    """Settings of runs with and without weight decay, in batches whose last is smaller."""
    common = {"epochs": 5, "batch_size": 7, "precision": "float64", "device": "cpu"}
    each = [
        {"seed": seed, "optimizer.lr": 0.001 * (1 + seed), "optimizer.weight_decay": 0.1 * (seed % 2)}
        for seed in range(runs)
    ]
    return [settings_of(common | values | one) for one in each]


@pytest.mark.slow
def test_a_stack_that_shrinks_keeps_its_function_and_is_like_the_ordinary_one() -> None:
    ordinary, compiled = stack_of(shrinking(9)).go(2), compiled_stack(shrinking(9)).go(2)
    before = compiled_functions()
    for left in ([0, 2, 4, 7, 8], [0, 1, 2], [1]):  # in the end without weight decay, then one run only
        for together in (ordinary, compiled):
            together.training.keep(np.array(left))
            together.go(1)
        assert compiled.weights[-1].shape == ordinary.weights[-1].shape
        assert relative(compiled.weights[-1], ordinary.weights[-1]) < LIKE_ALONE
    assert compiled_functions() == before


@pytest.mark.slow
def test_a_compiled_stack_taken_up_again_goes_on_bit_for_bit_and_changes_nobody_by_a_run_that_explodes() -> None:
    whole = compiled_stack(shrinking(9)).go(2)
    whole.training.keep(np.array([0, 3, 4, 8]))
    state, step = whole.training.state_dict(), whole.network.masks.step
    whole.go(2)
    again = stack_of(shrinking(9))
    again.training.keep(np.array(state["source"]["members"]))
    again.training.load_state_dict(state)
    again.network.masks.step = step
    again.training.compiled = CompiledStep(again.training)
    assert torch.equal(again.go(2).weights[-1], whole.weights[-1])

    settings = shrinking(9)
    settings[4]["optimizer"]["lr"] = 1e20
    mad, sane = compiled_stack(settings).go(2), compiled_stack(shrinking(9)).go(2)
    others = [run for run in range(9) if run != 4]
    assert torch.equal(mad.weights[-1][others], sane.weights[-1][others])
    assert not torch.equal(mad.weights[-1][4], sane.weights[-1][4])


def test_what_is_no_narrow_chain_or_has_dropout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotCompileError, match="dropout"):
        compiled_stack(shrinking(2, **{"model.dropout": 0.3}))
    monkeypatch.setattr("ch12cli.training.stack.NARROW", 0)
    with pytest.raises(CannotCompileError, match="narrow"):
        compiled_stack(shrinking(2))


def test_compiling_pays_for_long_runs_in_small_stacks_only() -> None:
    assert not pays(runs=512, parameters=131, steps=100 * 50)
    assert pays(runs=512, parameters=131, steps=100_000 * 50)
    assert not pays(runs=4096, parameters=131, steps=100_000 * 50)
