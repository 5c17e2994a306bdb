"""The step of a stack as a graph, against the same runs alone.

Without a GPU, a tape stands for the graph: it records the operations of one step, numbers and memory included, and
does nothing else when it is played. The graph itself is tested in tests/test_cuda.py.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ch12cli.training import captured
from ch12cli.training.captured import CapturedStep, Step
from ch12cli.training.compiled import CannotCompileError
from tests.sweep.driver import Together, one_thread, relative, settings_of, stack_of
from tests.training.test_compiled import assert_runs_alone
from tests.training.test_stack import LIKE_ALONE, cases, named, settings_of_case

aten = torch.ops.aten
WAITING = (aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default)


class Tape(TorchDispatchMode):
    """Records operations; played, it has each put its result where the recorded one lies."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Any] = []

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function not in WAITING, "a graph cannot wait for a value"
        result = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def play(self) -> None:
        for function, args, kwargs, result in self.operations:
            for old, new in zip(tree_leaves(result), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():  # neither a view nor in place
                    old.copy_(new)


Recording = tuple[Callable[[], Any], tuple[Tensor, Tensor]]


def tape(step: Step, _device: torch.device) -> Recording:
    with Tape() as recorded:
        results = step()
    return recorded.play, results


@pytest.fixture(autouse=True)
def single_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(captured, "WORTH", math.inf)  # a tape saves no time
    monkeypatch.setattr(CapturedStep, "failed", "")
    with one_thread():
        yield


def captured_stack(settings: list[dict[str, Any]]) -> Together:
    together = stack_of(settings)
    together.training.optimizer.unfuse()  # torch's fused kernels are used on a CPU only
    together.training.compiled = CapturedStep(together.training, recorder=tape)
    return together


@pytest.mark.parametrize(
    ("case", "layout"),
    [pytest.param(case, ("narrow", "wide")[n % 2], id=named(case)) for n, case in enumerate(cases())],
)
def test_each_run_of_a_captured_stack_is_the_run_alone(
    case: tuple[int, ...], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ch12cli.training.stack.NARROW", math.inf if layout == "narrow" else 0)
    settings = settings_of_case(case)
    together = captured_stack(settings)
    steps = count_played(together)
    together.go(settings[0]["epochs"])
    assert steps[0] > 0.7 * together.training.optimizer.steps
    assert_runs_alone(together, settings)


def count_played(together: Together) -> list[int]:
    """How often the graph is launched from now on."""
    step, count = together.training.compiled, [0]
    assert isinstance(step, CapturedStep)
    replay = step.replay

    def counted() -> None:
        count[0] += 1
        replay()

    step.replay = counted
    return count


def shrinking(**values: Any) -> list[dict[str, Any]]:
    """Settings of runs whose batches' last is smaller."""
    common = {"epochs": 5, "batch_size": 7, "precision": "float64", "device": "cpu", "clip_grad_norm": 1.0}
    return [settings_of(common | values | {"seed": seed, "optimizer.lr": 0.001 * (1 + seed)}) for seed in range(9)]


def test_a_stack_that_shrinks_is_recorded_anew_and_goes_on_bit_for_bit_from_a_checkpoint() -> None:
    ordinary, whole = stack_of(shrinking()).go(2), captured_stack(shrinking()).go(2)
    for together in (ordinary, whole):
        together.training.keep(np.array([0, 3, 4, 8]))
    state = whole.training.state_dict()
    assert relative(whole.go(2).weights[-1], ordinary.go(2).weights[-1]) < LIKE_ALONE
    again = stack_of(shrinking())
    again.training.optimizer.unfuse()
    again.training.keep(np.array(state["source"]["members"]))
    again.training.load_state_dict(state)
    again.training.compiled = CapturedStep(again.training, recorder=tape)
    assert torch.equal(again.go(2).weights[-1], whole.weights[-1])


def test_what_is_not_equal_or_not_faster_or_cannot_be_recorded_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    together = stack_of(shrinking()).go(1)
    before = together.training.state_dict()

    def forgetful(step: Step, _device: torch.device) -> Recording:
        return lambda: None, step()

    def slow(step: Step, _device: torch.device) -> Recording:
        return lambda: (time.sleep(0.01), step()), step()

    def impossible(_step: Step, _device: torch.device) -> Recording:
        try:
            raise RuntimeError("operation not permitted while capturing\nand much more")
        finally:
            raise ValueError("the recording was not ended")

    with pytest.raises(CannotCompileError, match="other weights"):
        CapturedStep(together.training, recorder=forgetful)
    monkeypatch.setattr(captured, "WORTH", 1.0)
    with pytest.raises(CannotCompileError, match="of the ordinary step's time on this GPU"):
        CapturedStep(together.training, recorder=slow)
    for recorder in (impossible, tape):  # after a recording that failed there is no other in this process
        with pytest.raises(CannotCompileError, match=r"^RuntimeError: operation not permitted while capturing$"):
            CapturedStep(together.training, recorder=recorder)
    with pytest.raises(CannotCompileError, match="dropout"):
        CapturedStep(stack_of(shrinking(**{"model.dropout": 0.5})).training, recorder=tape)
    after = together.training.state_dict()
    for name in ("network", "optimizer"):
        assert before[name].keys() == after[name].keys()
        for key, value in before[name].items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(after[name][key])), key
    untouched = stack_of(shrinking()).go(3)
    assert torch.equal(together.go(2).weights[-1], untouched.weights[-1])


@pytest.mark.parametrize("values", [{"optimizer.lr": 1e-9}, {"scheduler.warmup": 5}], ids=str)
def test_a_graph_that_does_nothing_is_found_out_however_small_the_steps(values: dict[str, Any]) -> None:
    each = [settings_of({"device": "cpu", "seed": seed} | values, scheduler="cosine") for seed in range(3)]
    with pytest.raises(CannotCompileError, match="other weights"):
        CapturedStep(stack_of(each).training, recorder=lambda step, _device: (lambda: None, step()))


def test_a_stack_whose_next_graph_cannot_be_recorded_goes_on_without() -> None:
    ordinary, together = stack_of(shrinking()).go(2), captured_stack(shrinking()).go(2)
    step = together.training.compiled
    assert isinstance(step, CapturedStep)
    step.recorder = lambda _step, _device: [][0]
    for each in (ordinary, together):
        each.training.keep(np.array([0, 3, 4, 8]))
        each.go(2)
    assert together.training.compiled is None
    assert relative(together.weights[-1], ordinary.weights[-1]) < LIKE_ALONE
