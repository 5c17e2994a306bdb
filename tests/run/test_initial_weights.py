"""The initial weights of a stack's runs, drawn at once by compiled code, against those that torch draws for each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ch12cli.config.run_settings import RunSettings
from ch12cli.fused import compiler
from ch12cli.fused.twister import draw_beginnings, twister_library
from ch12cli.run import build
from ch12cli.run.build import initial_weights
from ch12cli.run.task import Task, build_task
from ch12cli.training.streams import Streams
from tests.sweeps.driver import settings_of, typed

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")

RUNS, EPOCHS = 19, 4


@pytest.fixture(autouse=True)
def compiled() -> None:
    twister_library()


def jobs_of(offset: int = 0, **choices: str) -> tuple[list[RunSettings], Task]:
    first = typed(settings_of({"stream_offset": offset}, **choices))
    jobs = [replace(first, loop=replace(first.loop, seed=2**32 - 1 - run)) for run in range(RUNS)]
    return jobs, build_task(first)


def started(jobs: list[RunSettings], task: Task) -> tuple[torch.Tensor, Streams]:
    streams = Streams(EPOCHS)
    with torch.random.fork_rng(devices=[]):
        return initial_weights(jobs, task, streams)[1], streams


def require_the_same(found: tuple[torch.Tensor, Streams], expected: tuple[torch.Tensor, Streams]) -> None:
    (weights, streams), (torch_weights, torch_streams) = found, expected
    runs = list(range(RUNS))
    assert torch.equal(weights, torch_weights)
    assert len(streams) == RUNS
    assert streams.origins(runs) == torch_streams.origins(runs)
    for epochs in (0, 3):
        assert np.array_equal(streams.states_after(runs[2:], epochs), torch_streams.states_after(runs[2:], epochs))
    epochs_of_all = range(EPOCHS)
    assert torch.equal(streams.orders(runs, epochs_of_all, 7), torch_streams.orders(runs, epochs_of_all, 7))


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("model", ["mlp", "linear"])
def test_weights_and_streams_that_are_drawn_at_once_are_those_of_torch(
    model: str, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, task = jobs_of(offset, model=model)
    at_once = started(jobs, task)
    assert at_once[1].drawn is not None
    monkeypatch.setattr(build, "twister_if_cached", lambda: False)
    by_torch = started(jobs, task)
    assert by_torch[1].drawn is None
    require_the_same(at_once, by_torch)


def test_torch_draws_where_the_jobs_differ_or_compiled_code_is_not_wanted() -> None:
    jobs, task = jobs_of()
    others = replace(jobs[-1], loop=replace(jobs[-1].loop, stream_offset=1))
    unwanted = replace(jobs[0], sweep=replace(jobs[0].sweep, fused=False))
    assert started([*jobs[:-1], others], task)[1].drawn is None
    assert started([unwanted, *jobs[1:]], task)[1].drawn is None


def test_torch_draws_where_compiled_code_draws_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def others(*arguments: object) -> tuple[np.ndarray, np.ndarray]:
        weights, order_seeds = draw_beginnings(*arguments)  # type: ignore[arg-type]
        return np.nextafter(weights, np.float32(1)), order_seeds

    jobs, task = jobs_of()
    expected = started(jobs, task)
    monkeypatch.setattr(build, "draw_beginnings", others)
    found = started(jobs, task)
    assert found[1].drawn is None
    require_the_same(found, expected)
