"""A sweep's plan as text, compared whole; and a plan of a real command line."""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from ch12cli.cli.text.plan_view import describe_items, distinguishing, format_bytes, format_plan, varied
from ch12cli.sweeps.groups import Group
from ch12cli.sweeps.jobs import Base, SweepJob
from ch12cli.sweeps.plan import Plan
from ch12cli.sweeps.start import plan_many
from ch12cli.sweeps.workers.work_item import WorkItem
from tests.sweeps.driver import settings_of

BASE = Base(None, {}, settings_of({}) | {"epochs": 100}, {})


def make_job(number: int, *lines: str) -> SweepJob:
    return SweepJob(number, lines, BASE)


def make_plan(
    groups: Sequence[Group],
    *,
    stacks: Sequence[tuple[int, Sequence[int]]] = (),
    alone: Sequence[tuple[int, int]] = (),
    done: Sequence[int] = (),
    repeated: Sequence[int] = (),
) -> Plan:
    """stacks, alone: what is trained, with the index of its group; repeated: jobs that were given once more."""
    jobs = {job.number: job for group in groups for job in group.jobs}
    items = [WorkItem(tuple(numbers), group, True) for group, numbers in stacks]
    items += [WorkItem((number,), group, False) for group, number in alone]
    return Plan(jobs, list(groups), items, list(done), [*jobs, *repeated])


def grid_plan() -> Plan:
    """400 seeds of two optimisers that are stacked and one that is not, and a job of each of two further structures."""
    groups = [
        Group([make_job(400 * place + seed, f"optimizer={name}", f"seed={seed}") for seed in range(400)], reason)
        for place, (name, reason) in enumerate(
            [("sgd", ""), ("adam", ""), ("lbfgs", "torch.optim.LBFGS: no stacked form")]
        )
    ]
    for number, name in ((1200, "rprop"), (1201, "asgd")):
        groups.append(Group([make_job(number, f"optimizer={name}", "seed=0")], "the only job of its structure"))
    return make_plan(
        groups,
        stacks=[
            (0, range(200)),
            (0, range(200, 400)),
            (1, range(400, 533)),
            (1, range(533, 667)),
            (1, range(667, 800)),
        ],
        alone=[(2, number) for number in range(900, 1200)] + [(3, 1200)],
        done=[*range(800, 900), 1201],
        repeated=[7, 7, 9],
    )


def test_a_plan_shows_its_jobs_groups_reasons_and_cost():
    estimates = [(12.0, 314_000_000, ""), (130.0, 2_500_000_000, ""), (3.25, 900, ""), (0.01, 900, "torch; why"), None]
    assert format_plan(replace(grid_plan(), seconds=145.0), estimates, width=80) == [
        "1,202 jobs, 101 done already, 1,101 to train",
        "3 duplicates left out, the first: optimizer=sgd seed=7",
        "",
        "optimizer  5 values: sgd, adam, lbfgs, rprop, asgd",
        "seed       400 values: 0, 1, 2, ..., 399",
        "",
        "group  optimizer  trained as                   jobs  done        time  memory",
        "1      sgd        2 stacks of 200 runs          400     0        12 s  314 MB",
        "2      adam       3 stacks of 133 to 134 runs   400     0  2 min 10 s  2.5 GB",
        "3      lbfgs      300 runs one by one           400   100       3.2 s    1 MB",
        "4      rprop      1 run by itself                 1     0      0.01 s    1 MB",
        "5      asgd       -                               1     1           -       -",
        "",
        "not stacked: torch.optim.LBFGS: no stacked form (400 jobs, group 3)",
        "not stacked: the only job of its structure (2 jobs, groups 4, 5)",
        "trained by: torch; why (1 job, group 4)",
        "",
        "about 2 min 25 s and 2.5 GB of memory in all",
    ]


def test_a_plan_without_estimates_says_nothing_about_cost():
    plan = make_plan([Group([make_job(n, f"seed={n}") for n in range(3)])], stacks=[(0, range(3))])
    assert format_plan(plan, width=80) == [
        "3 jobs",
        "",
        "seed  3 values: 0, 1, 2",
        "",
        "group  trained as         jobs",
        "1      1 stack of 3 runs     3",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_of_a_plan_is_wider_than_the_terminal(width: int):
    names = ("dataset.path=/long/path/to/data/{}.csv", "model.activation_function={}", "optimizer.weight_decay={}")
    combinations = product(range(5), range(5), range(2))
    groups = [
        Group([make_job(place, *(name.format(n) for name, n in zip(names, numbers, strict=True)))], "torch cannot " * 9)
        for place, numbers in enumerate(combinations)
    ]
    lines = format_plan(make_plan(groups, alone=[(n, n) for n in range(50)]), [(1.0, 10**6, "")] * 50, width=width)
    assert max(map(len, lines)) <= width
    assert "and 30 more groups of 30 jobs" in lines
    assert any(line.startswith("1 ") and "/0.csv " in line for line in lines)  # of a path its end is kept
    assert sum(line.startswith("not stacked") for line in lines) == 1


def test_groups_are_labelled_by_keys_whose_values_differ_between_them():
    jobs = [
        make_job(n, f"model={model}", f"optimizer.lr={lr}", *extra)
        for n, (model, lr, extra) in enumerate(
            [("mlp", 1, ()), ("mlp", 2, ()), ("linear", 2, ()), ("linear", 3, ()), ("linear", 1, ("dropout=0",))]
        )
    ]
    keys = varied(jobs)
    assert keys == {"model": ["mlp", "linear"], "optimizer.lr": ["1", "2", "3"], "dropout": ["0"]}
    assert distinguishing([Group(jobs[:2]), Group(jobs[2:4])], keys) == {"model": [["mlp"], ["linear"]]}
    assert distinguishing([Group(jobs[2:4]), Group(jobs[4:])], keys) == {"dropout": [[""], ["0"]]}
    # a group has several rates in any case, and those of both groups are the same
    assert distinguishing([Group(jobs[:2]), Group([jobs[2], jobs[4]])], keys)["model"] == [["mlp"], ["linear"]]
    assert "optimizer.lr" not in distinguishing([Group(jobs[:2]), Group([jobs[2], jobs[4]])], keys)
    # where no key has one value in each, all that differ are told
    assert distinguishing([Group(jobs[:3]), Group(jobs[1:4])], keys) == {"optimizer.lr": [["1", "2"], ["2", "3"]]}
    assert distinguishing([Group(jobs)], keys) == {}


def test_the_work_of_a_plan_is_described_in_words():
    stacks = [WorkItem(tuple(range(size)), 0, True) for size in (4096, 4096)]
    assert describe_items(stacks) == "2 stacks of 4,096 runs"
    assert describe_items([*stacks, WorkItem((1,), 0, False)]) == "2 stacks of 4,096 runs, 1 run by itself"
    assert describe_items([WorkItem((1,), 0, True)]) == "1 stack of 1 run"
    assert describe_items([WorkItem((1,), 0, True), *stacks]) == "3 stacks of 1 to 4,096 runs"
    assert describe_items([]) == ""


def test_memory_is_shown_in_megabytes_or_gigabytes():
    assert [format_bytes(size) for size in (10, 999_400_000, 1_000_000_000)] == ["1 MB", "999 MB", "1.0 GB"]


def test_the_plan_of_a_command_line_is_that_of_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ["dataset=toy_regression", "precision=float64,bfloat16", "seed=range(3)", "epochs=2", "device=cpu"]
    plan, estimates = plan_many(words, folders=[], config_name="config")
    lines = format_plan(plan, estimates, width=80)
    assert lines[:5] == ["6 jobs", "", "precision  2 values: float64, bfloat16", "seed       3 values: 0, 1, 2", ""]
    assert lines[6].split()[:6] == ["1", "float64", "1", "stack", "of", "3"]
    assert lines[7].split()[:6] == ["2", "bfloat16", "3", "runs", "one", "by"]
    assert lines[9] == "not stacked: precision=bfloat16 has no stacked form (3 jobs, group 2)"
    assert lines[10].startswith("trained by: torch; it has too few steps to be worth compiling")
    assert lines[13].startswith("about ")
    assert os.listdir(tmp_path) == []
