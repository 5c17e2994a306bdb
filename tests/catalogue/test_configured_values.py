"""A value that a job has by default and the same value that another one was given are one setting."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ch12cli.catalogue.best_setting import best_setting, with_planned_seeds
from ch12cli.catalogue.configured_values import with_configured_values
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned
from ch12cli.cli.main import main
from ch12cli.files.plan_json import PlanFile, PlannedBase, PlannedJob
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.plot import Lines
from ch12cli.plots.recorded import sweep_plot
from ch12cli.sweeps.jobs import settings_in
from tests.sweeps.driver import jobs_of, sweep

Run = Callable[..., list[str]]
TINY = ("epochs=1", "batch_size=40")


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Carries out a command line and gives the lines that it prints."""

    def lines(*words: str) -> list[str]:
        capsys.readouterr()
        assert main(list(words)) == 0
        return capsys.readouterr().out.splitlines()

    return lines


def mixed(*words: str) -> Path:
    """A sweep of six jobs, of which the last two name no learning rate."""
    sweep("optimizer.lr=1e-3,0.01", "seed=1,2", *TINY, *words)
    return sweep("seed=3,4", *TINY, *words).directory


def rates(directory: Path) -> dict[int, float]:
    """The learning rate of each job as its configuration has it."""
    files = {int(file.parts[-3]): file for file in directory.glob("*/.hydra/config.yaml")}
    return {job: yaml.safe_load(file.read_text())["optimizer"]["lr"] for job, file in files.items()}


def test_a_default_value_and_the_same_value_given_are_one_setting(run: Run) -> None:
    directory = mixed()
    expected = rates(directory)
    assert expected == {0: 0.001, 1: 0.001, 2: 0.01, 3: 0.01, 4: 0.001, 5: 0.001}
    rows = read_rows_as_planned(directory)
    assert {row.job: float(row.overrides["optimizer.lr"]) for row in rows} == expected
    best = best_setting(rows, "valid_loss")
    assert best is not None
    assert best.settings == 2
    shown = "\n".join(run("show", str(directory)))
    assert "best of 2 settings" in shown
    assert "-  " not in shown
    for key in ("--filter", "--sort"):
        text = "optimizer.lr=0.001" if key == "--filter" else "optimizer.lr"
        listed = [line.split()[0] for line in run("runs", str(directory), key, text)[1:]]
        assert {name.rpartition("/")[2] for name in listed[:4]} == {"0", "1", "4", "5"}
        assert len(listed) == (4 if key == "--filter" else 6)
    panel = sweep_plot([directory], "slice").panels[0]
    assert isinstance(panel, Lines)
    assert {value for line in panel.lines for value in line.x} == {0.001, 0.01}


@pytest.mark.parametrize("words", [(), ("sweep.record=compact",), ("hydra/launcher=basic",)])
def test_the_value_is_found_without_a_plan(folder: Path, words: Sequence[str]) -> None:
    directory = mixed(*words) if "hydra/launcher=basic" not in words else listed_by_hydra()
    shutil.rmtree(directory / ".ch12", ignore_errors=True)
    found = {row.job: float(row.overrides["optimizer.lr"]) for row in read_rows_as_planned(directory)}
    assert found == {0: 0.001, 1: 0.001, 2: 0.01, 3: 0.01, 4: 0.001, 5: 0.001}


def listed_by_hydra() -> Path:
    """A sweep of six jobs by Hydra's own launcher, of which the last two name no learning rate."""
    Path("jobs.csv").write_text("optimizer.lr,seed\n0.001,1\n0.001,2\n0.01,1\n0.01,2\n,3\n,4\n")
    return sweep(*TINY, "hydra/launcher=basic", jobs_file=Path("jobs.csv")).directory


def test_an_empty_cell_of_a_file_of_jobs_has_the_default_value_or_choice(folder: Path) -> None:
    Path("jobs.csv").write_text(
        "optimizer.lr,optimizer,seed,optimizer.momentum\n0.001,,1,\n,adam,2,\n1e-3,adam,3,\n,sgd,4,0.5\n0.1,sgd,5,\n"
    )
    rows = read_rows_as_planned(sweep(*TINY, jobs_file=Path("jobs.csv")).directory)
    adam = {"device": "cpu", "optimizer.lr": "0.001", "optimizer": "adam", "epochs": "1", "batch_size": "40"}
    assert [dict(row.overrides) for row in rows[:3]] == [{**adam, "seed": str(seed)} for seed in (1, 2, 3)]
    given = [(row.overrides["optimizer.lr"], row.overrides["optimizer.momentum"]) for row in rows[3:]]
    assert [tuple(map(float, pair)) for pair in given] == [(0.01, 0.5), (0.1, 0.0)]  # as conf/optimizer/sgd.yaml has it
    best = best_setting(rows, "valid_loss")
    assert best is not None
    assert best.settings == 3


def test_jobs_to_come_belong_to_the_settings_of_those_that_name_their_values(folder: Path) -> None:
    directory = mixed()
    lines = (directory / "sweep.csv").read_text().splitlines(keepends=True)
    (directory / "sweep.csv").write_text("".join(lines[:2]))
    for job in range(1, 6):
        shutil.rmtree(directory / str(job))
    rows = read_rows_as_planned(directory)
    assert [row.job for row in rows] == [0]
    assert sorted(row.job for row in with_planned_seeds(directory, rows)) == [0, 1, 4, 5]


PLAN = PlanFile(
    bases=(
        PlannedBase(
            settings={
                "flag": True,
                "count": 1,
                "nothing": None,
                "sizes": [16, 16],
                "inner": {"a": 1},
                "seed": 5,
                "dataset": {"fold": None},
                "text": "a b",
            },
            written={},
            chosen={"optimizer": "sgd", "experiment": None},
            template="",
            options=(),
        ),
    ),
    jobs=(PlannedJob(0, "0", (), 0, {}, "0"), PlannedJob(1, "1", (), 0, {}, "1")),
)


@pytest.mark.parametrize(
    ("key", "typed", "expected"),
    [
        ("flag", "True", "True"),
        ("flag", "1", "true"),
        ("count", "1.0", "1.0"),
        ("count", "true", "1"),
        ("nothing", "0", "null"),
        ("nothing", "Null", "Null"),
        ("sizes", "[16, 16]", "[16, 16]"),
        ("sizes", "[8]", "[16,16]"),
        ("text", "'a b'", "'a b'"),
        ("optimizer", "adam", "sgd"),
        ("experiment", "debug/fast", "null"),
        ("seed", "7", "5"),
        ("dataset.fold", "0", None),  # no fold at all
        ("inner", "{a:2}", None),  # several values
        ("absent", "1", None),
        ("text.more", "1", None),
        ("sizes.0", "1", None),
    ],
)
def test_a_value_of_the_configuration_is_written_as_other_jobs_have_typed_it(
    folder: Path, key: str, typed: str, expected: str | None
) -> None:
    rows = [SweepRow(job=0, directory="0", status="finished", overrides={key: typed})]
    rows.append(SweepRow(job=1, directory="1", status="finished"))
    found = with_configured_values(rows, folder, plan=PLAN)
    seed = {"seed": "5"}  # equal settings with the same seed are one job
    assert found[0].overrides == {**seed, key: typed}
    assert found[1].overrides == {**seed, **({} if expected is None else {key: expected})}


@pytest.mark.parametrize("ranges", ["", "file"])
def test_a_search_leaves_a_key_out_where_its_condition_does_not_hold(folder: Path, ranges: str) -> None:
    when, dropout = '{model.dropout: "activation=relu"}', "interval(0.1,0.5)"
    words = [f"search.when={when}", f"model.dropout={dropout}", "activation=relu,tanh"]
    folders = []
    if ranges:
        params = f"params: {{model.dropout: '{dropout}', activation: 'choice(relu,tanh)'}}"
        Path("mine/search").mkdir(parents=True)
        Path("mine/search/narrow.yaml").write_text(f"{params}\nwhen: {when}\n")
        words, folders = ["search=narrow"], [Path("mine")]
    swept = sweep(*words, "search.n_trials=6", *TINY, folders=folders)
    rows = read_rows_as_planned(swept.directory)
    assert {row.overrides["activation"] for row in rows} == {"relu", "tanh"}
    for row in rows:
        assert ("model.dropout" in row.overrides) == (row.overrides["activation"] == "relu")


def test_halving_by_settings_takes_a_default_value_for_the_same_value_given(folder: Path) -> None:
    lines = [["seed=1"], ["optimizer.lr=0.001", "seed=2"], ["optimizer.lr=0.01"], ["model=mlp"], ["optimizer=adam"]]
    lines += [["optimizer.weight_decay=0", "seed=3"], ["model.width=16"], ["model=linear"]]
    assert settings_in(jobs_of(lines)).tolist() == [0, 0, 1, 0, 0, 0, 0, 2]


def test_a_filter_by_a_key_that_some_jobs_lack_finds_the_others(run: Run) -> None:
    Path("jobs.csv").write_text("optimizer,optimizer.momentum,seed\nadam,,1\nsgd,0.5,2\nsgd,,3\n")
    sweep(*TINY, into="outputs/some", jobs_file=Path("jobs.csv"))
    listed: dict[str, list[str]] = {
        text: [line.split()[0] for line in run("runs", "some", "--filter", text)[1:]]
        for text in ("optimizer.momentum=0", "optimizer.momentum<1", "optimizer=sgd")
    }
    assert listed == {
        "optimizer.momentum=0": ["some/2"],
        "optimizer.momentum<1": ["some/2", "some/1"],
        "optimizer=sgd": ["some/2", "some/1"],
    }


def test_a_front_in_json_counts_equal_values_once(run: Run) -> None:
    words = ("search.objectives=[valid_loss,parameters]", "search.n_trials=2", "optimizer.lr=choice(0.001,0.002)")
    sweep(*words, "model.width=16", *TINY)
    sweep(*words, *TINY)
    found: Any = json.loads("\n".join(run("show", "sweep", "--format", "json")))
    assert len(found["jobs"]) == 4
    assert [(each["values"], each["runs"]) for each in found["front"]] == [({"optimizer.lr": "0.002"}, 1)]
