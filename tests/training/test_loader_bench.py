"""`ch12 bench loader`: what it advises on planted figures, and (slow) on work that is really done."""

import time
from typing import Any

import numpy as np
import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.training import loader_bench
from ch12cli.training.batches import Part, StreamedPart
from ch12cli.training.loader_bench import Advice, CostlyPart, Costs, ItemDataset, Measured, advise, measure

MS = 1e-3


def found(*seconds: float, fetch: str = "batch", step: float = 0.0) -> list[Measured]:
    """Settings with 0, 1, 2, 4 … workers."""
    return [Measured(workers, fetch, False, each, step) for workers, each in zip((0, 1, 2, 4), seconds, strict=False)]


def test_cheap_items_need_no_workers() -> None:
    advice = advise(found(0.02 * MS, 0.7 * MS, 0.6 * MS, step=0.0), cores=2)
    assert advice.workers == 0
    assert "Items are cheap" in advice.text


def test_costly_items_need_workers_up_to_the_number_of_cores() -> None:
    advice = advise(found(32 * MS, 33 * MS, 17 * MS, 17 * MS, step=0.0), cores=2)
    assert advice.workers == 2
    assert "workers=2: 1.9 times as fast; there is no free core for more" in advice.text


def test_costly_steps_make_loading_irrelevant() -> None:
    advice = advise(found(5.1 * MS, 5.2 * MS, 5.3 * MS, step=5 * MS), cores=2)
    assert advice.workers == 0
    assert "does not matter" in advice.text


def test_costly_items_without_a_free_core_are_reported() -> None:
    advice = advise(found(50 * MS, 62 * MS, 71 * MS), cores=2)
    assert advice.workers == 0
    assert "There is no free core for more processes" in advice.text


def test_a_gain_within_the_noise_is_not_recommended() -> None:
    advice = advise(found(50 * MS, 40 * MS, 30 * MS, step=49 * MS), cores=2)
    assert advice.workers == 0
    assert "does not matter" in advice.text


def test_loading_hidden_behind_the_steps_is_reported() -> None:
    advice = advise(found(15 * MS, 10.2 * MS, 10.1 * MS, step=10 * MS), cores=8)
    assert advice.workers == 1
    assert "now the steps are the bottleneck" in advice.text


def test_whole_batches_are_recommended_if_they_are_faster() -> None:
    both = [*found(0.3 * MS, fetch="item"), *found(0.02 * MS)]
    assert advise(both, cores=2) == Advice(0, "batch", advise(both, cores=2).text)
    assert "fetch whole batches" in advise(both, cores=2).text


def test_both_ways_of_fetching_give_the_same_rows_and_cost_the_same() -> None:
    part = Part(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    single, whole = ItemDataset(part, 0.0), CostlyPart(part, 2 * MS)
    x, y = whole.gather(torch.tensor([4, 1]))
    assert torch.equal(x, torch.stack([single[4][0], single[1][0]]))
    assert y.tolist() == [4, 1]
    start = time.perf_counter()
    whole.gather(torch.tensor([0, 1, 2]))
    assert time.perf_counter() - start >= 6 * MS


def test_a_step_and_its_items_take_as_long_as_they_cost() -> None:
    part = Part(torch.zeros(20, 2), torch.zeros(20))
    costs = Costs(item=1 * MS, step=3 * MS)
    cpu = torch.device("cpu")
    one = measure(part, batch_size=5, workers=0, fetch="item", pinned=False, costs=costs, device=cpu, lasting=0.05)
    assert one.seconds >= 8 * MS


def test_the_command_prints_a_table_and_what_to_use(capsys: Any, folder: Any) -> None:
    words = ["loader", "batch_size=16", "workers=0,1", "--fetch", "both", "--seconds", "0.05", "--item-cost", "50us"]
    assert main(["bench", *words]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    table = [line.split() for line in said.out.splitlines() if line[:1].isdigit()]
    assert [row[:2] for row in table] == [["0", "item"], ["1", "item"], ["0", "batch"], ["1", "batch"]]
    assert said.out.splitlines()[-1].endswith(".")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "must be loader"),
        (["loder"], "did you mean `loader`?"),
        (["loader", "--item-cost", "2"], "--item-cost 2: must be a time up to 10s"),
        (["loader", "--step-cost", "1h"], "--step-cost 1h: must be a time"),
        (["loader", "workers=x"], "workers=x: must be whole numbers from 0 to 64"),
        (["loader", "dataset=irs"], "dataset=irs"),
        (["loader", "--seconds", "0"], "--seconds 0: must be a number at least 0.05 and at most 60"),
    ],
)
def test_an_impossible_measurement_is_refused_in_one_line(
    words: list[str], message: str, capsys: Any, folder: Any
) -> None:
    assert main(["bench", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("costs", "workers", "words"),
    [
        (Costs(), 0, "Items are cheap"),
        (Costs(item=2 * MS), 2, "Loading items is the bottleneck"),
        (Costs(step=8 * MS), 0, "does not matter"),
    ],
    ids=["cheap items", "costly items", "costly steps"],
)
def test_the_right_setting_is_found_by_measuring(
    costs: Costs, workers: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work waits, as for a network: what else the machine does changes nothing."""
    monkeypatch.setattr(loader_bench, "burn", lambda seconds: time.sleep(seconds) if seconds else None)
    part = Part(torch.zeros(160, 4), torch.zeros(160, dtype=torch.int64))
    cpu = torch.device("cpu")
    measured = [
        measure(part, batch_size=16, workers=n, fetch="batch", pinned=False, costs=costs, device=cpu, lasting=0.6)
        for n in (0, 1, 2)
    ]
    advice = advise(measured, cores=2)
    assert (advice.workers, words in advice.text) == (workers, True), (advice, measured)


def test_rows_on_disk_are_fetched_as_in_training() -> None:
    fetched: list[int] = []

    def fetch(rows: np.ndarray, epoch: int | None) -> np.ndarray:
        fetched.append(len(rows))
        return np.zeros((len(rows), 2), np.float32)

    y = torch.zeros(4000, dtype=torch.int8)
    part = StreamedPart(fetch, y, shape=(2,), dtype=torch.float32, device=torch.device("cpu"), at_once=2000)
    costs, cpu = Costs(step=0.1 * MS), torch.device("cpu")
    one = measure(part, batch_size=50, workers=0, fetch="batch", pinned=False, costs=costs, device=cpu, lasting=0.01)
    assert max(fetched) == part.rows_at_once(50, sent=False) > 500
    assert one.step <= one.seconds
