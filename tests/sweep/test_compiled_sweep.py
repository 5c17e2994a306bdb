"""sweep.compile=true: it equals the ordinary sweep, and what cannot be compiled is trained all the same."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from ch12cli.cli.text.plan_view import format_plan
from ch12cli.sweep.groups import Group
from ch12cli.sweep.plan import is_worth_compiling
from ch12cli.sweep.start import plan_many
from ch12cli.training.compiled import can_compile
from tests.sweep.driver import Swept, apart, one_thread, settings_of, stack_of, sweep, without_times
from tests.sweep.killed import in_child
from tests.sweep.test_sweep_resume import kill, wait_for_a_stack

# runs that diverge, stop early (so that the stack shrinks) and go on to the end, in two stacks
WORDS = (
    *("dataset=toy_regression", "batch_size=3", "epochs=200", "precision=float64"),
    *("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.lr=0.0001,0.001,0.01,1e30", "seed=range(4)"),
    *(
        "early_stopping.patience=10",
        "early_stopping.min_delta=0.01",
        "sweep.max_stacked=8",
        "checkpoint.every=5",
        "sweep.processes=2",
    ),
)


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sweep is worth compiling."""
    monkeypatch.setattr("ch12cli.training.compiled.COMPILING", 0.0)


def assert_alike(found: Swept, expected: Swept, *, within: float) -> None:
    assert [(row["status"], row["epochs"]) for row in found.rows.values()] == [
        (row["status"], row["epochs"]) for row in expected.rows.values()
    ]
    for job, row in expected.rows.items():
        if row["status"] == "finished":
            assert apart(found.weights(job), expected.weights(job)) <= within


@pytest.mark.slow
def test_a_compiled_sweep_equals_the_ordinary_one_and_killed_it_equals_itself(folder: Path, worth_it: None) -> None:
    ordinary = sweep(*WORDS, into="ordinary")
    statuses = [row["status"] for row in ordinary.rows.values()]
    assert 0 < statuses.count("diverged") < len(statuses)
    assert any(row["cause"].startswith("stopped early") for row in ordinary.rows.values())
    compiled = sweep(*WORDS, "sweep.compile=true", into="compiled")
    assert compiled.looker.messages == []
    assert_alike(compiled, ordinary, within=1e-9)
    different = [job for job, row in compiled.rows.items() if row["status"] == "finished"]
    assert not all(torch.equal(compiled.weights(job), ordinary.weights(job)) for job in different)  # it was compiled

    child = in_child(lambda: sweep(*WORDS, "sweep.compile=true", into="cut"))
    wait_for_a_stack(Path("cut"))
    assert kill(child)
    cut = sweep(*WORDS, "sweep.compile=true", into="cut")
    assert without_times(cut.rows) == without_times(compiled.rows)
    assert_alike(cut, compiled, within=0.0)


@pytest.mark.slow
def test_without_a_compiler_the_sweep_is_the_ordinary_one_with_one_message(
    folder: Path, worth_it: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "cache"))
    words = [word for word in WORDS if not word.startswith("epochs=")] + ["epochs=3"]
    ordinary = sweep(*words, into="ordinary")
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        found = sweep(*words, "sweep.compile=true", into="found")
    assert len(found.looker.plans[0].items) == 2
    (message,) = found.looker.messages
    assert message.startswith("sweep.compile=true: stacks are not compiled: ")
    assert "compiler" in message
    assert_alike(found, ordinary, within=0.0)


def test_the_plan_says_which_groups_are_compiled(folder: Path) -> None:
    def trained_as(*words: str) -> list[str]:
        words = ("device=cpu", "dataset.size=40", "dataset=two_class", "batch_size=8", "seed=range(40)", *words)
        plan, _ = plan_many(words, folders=[], config_name="config")
        return [line for line in format_plan(plan, width=120) if "stack" in line]

    with one_thread():
        narrow, wide = trained_as(
            "model.width=16,200", "model.depth=2", "epochs=200000", "sweep.compile=true", "sweep.processes=1"
        )
        ordinary = trained_as("epochs=200000", "sweep.processes=1")
        short = trained_as("epochs=20", "sweep.compile=true", "sweep.processes=1")
    assert " runs, compiled" in narrow
    assert "compiled" not in "".join([wide, *ordinary, *short])
    assert (len(ordinary), len(short)) == (1, 1)


def test_on_a_gpu_every_chain_without_dropout_is_compiled_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ch12cli.sweep.plan.choose_device", torch.device)
    for device, narrow, compiled in [("cuda", True, True), ("cuda", False, True), ("cpu", True, False)]:
        monkeypatch.setattr("ch12cli.training.stack.NARROW", math.inf if narrow else 0)
        each = [settings_of({"epochs": 1, "seed": seed}) for seed in (1, 2)]
        for settings in each:
            settings["device"], settings["sweep"]["compile"] = device, True
        stack = stack_of([settings | {"device": "cpu"} for settings in each]).network
        compilable = can_compile(stack, torch.device(device))
        assert compilable
        jobs = cast(Any, [SimpleNamespace(settings=settings) for settings in each])
        assert is_worth_compiling(Group(jobs, parameters=131, compilable=compilable, steps=60)) is compiled
        assert not is_worth_compiling(Group(jobs, parameters=131, compilable=False, steps=60))
    dropout = stack_of([settings_of({"model.dropout": 0.5, "seed": seed}) for seed in (1, 2)]).network
    assert not can_compile(dropout, torch.device("cuda"))
