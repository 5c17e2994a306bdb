"""How many runs are stacked together."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from ch12cli.sweeps import groups
from ch12cli.sweeps.groups import (
    CACHE,
    MEMORY,
    NARROW_AT_LEAST,
    RUNS_AT_LEAST,
    RUNS_AT_MOST,
    RUNS_AT_MOST_ON_GPU,
    Group,
    best_stack_size,
    bytes_of_step,
    divide_into_stacks,
    max_stack_size,
    stack_sizes,
)
from tests.sweeps.driver import settings_of, typed


@pytest.mark.parametrize("runs", [1, 2, 31, 32, 63, 64, 65, 128, 1000, 4096, 4097, 10_000])
@pytest.mark.parametrize("at_least", [RUNS_AT_LEAST, NARROW_AT_LEAST])
@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("at_most", [1, 2, 100, 4096])
def test_stacks_are_as_even_as_possible_within_their_bounds(
    runs: int, at_least: int, processes: int, at_most: int
) -> None:
    sizes = stack_sizes(runs, at_most=at_most, at_least=at_least, processes=processes)
    assert sum(sizes) == runs
    assert max(sizes) <= at_most
    assert max(sizes) - min(sizes) <= 1
    fewest = -(-runs // at_most)
    stacks = max(fewest, min(processes, runs // at_least))
    even = -(-stacks // processes) * processes  # as many for each process
    assert len(sizes) == (even if runs >= even * at_least else stacks)


def test_two_processes_share_narrow_networks_from_128_runs_on_and_wide_ones_from_64() -> None:
    narrow, wide = (group_of(parameters=parameters, **{"sweep.processes": 2}) for parameters in (131, 5_000))
    assert [len(divide_into_stacks(narrow, runs)) for runs in (64, 127, 128)] == [1, 1, 2]
    assert [len(divide_into_stacks(wide, runs)) for runs in (32, 63, 64)] == [1, 1, 2]


def group_of(*, parameters: int, values: int = 0, **settings: Any) -> Group:
    """A group of runs on the CPU whose networks are so large. settings: others than the usual ones."""
    job = SimpleNamespace(run_settings=typed(settings_of({"device": "cpu"} | settings)))
    return Group(cast(Any, [job]), parameters=parameters, values=values)


MOST_SEVEN = {"sweep.max_stacked": 7}


def test_a_stack_is_as_large_as_memory_allows() -> None:
    assert max_stack_size(group_of(parameters=131)) == RUNS_AT_MOST
    sizes = [max_stack_size(group_of(parameters=parameters)) for parameters in (10_000, 100_000, 1_000_000)]
    assert sizes[0] > 5 * sizes[1] > 25 * sizes[2] > 0
    for values in (100_000, 1_000_000):
        held = values * 4 * 2 * 2  # in float32, of a batch of 2, forward and backward
        assert max_stack_size(group_of(parameters=131, values=values)) == pytest.approx(MEMORY / held, rel=0.03)
    assert max_stack_size(group_of(parameters=131, **MOST_SEVEN)) == 7


def test_a_stack_on_a_cpu_is_as_large_as_a_cache_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = group_of(parameters=4417, values=258, batch_size=32)
    # with Adam: parameters, their gradient, its two moments, the update and a gradient being computed, and what the
    # layers give for 32 rows in both passes; 4 bytes each
    assert bytes_of_step(wide) == 4 * (6 * 4417 + 2 * 32 * 258)
    assert best_stack_size(wide) == CACHE // bytes_of_step(wide) == 97
    assert best_stack_size(group_of(parameters=131, values=35)) == RUNS_AT_MOST
    assert best_stack_size(group_of(parameters=10_000_000)) == 2
    assert best_stack_size(group_of(parameters=10_000_000, **MOST_SEVEN)) == 7
    monkeypatch.setattr(groups, "choose_device", lambda _name: torch.device("cuda"))
    assert best_stack_size(wide) == max_stack_size(wide) > 1000
    assert best_stack_size(group_of(parameters=131, values=35)) == RUNS_AT_MOST_ON_GPU > RUNS_AT_MOST
