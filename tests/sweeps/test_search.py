"""Searches: batches that are drawn, trained as stacks and reported; what is refused; the same command again."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ch12cli.catalogue.best_setting import best_setting
from ch12cli.catalogue.front import front_of, recorded_objectives
from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.cli.main import main
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.errors import InputError
from ch12cli.files.atomic import write_whole
from ch12cli.files.locks import is_locked
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.report.contents import sweep_plots
from ch12cli.run.start import train_single
from ch12cli.search.optuna_study import read_study, write_study
from ch12cli.sweeps.hydra_sweep import read_sweep
from ch12cli.sweeps.jobs import JobComposer
from ch12cli.sweeps.search import driver
from ch12cli.sweeps.start import plan_many
from tests.conftest import Silent
from tests.sweeps.driver import Looker, Stopping, Swept, sweep, table, without_times
from tests.sweeps.killed import in_child, kill_after

KILLS = 13  # of each of eight searches: a hundred
SMALL = ("dataset=toy_regression", "epochs=2", "batch_size=5", "optimizer=sgd")
LR = "optimizer.lr=tag(log,interval(1e-4,0.1))"
SPACE = (LR, "optimizer.momentum=interval(0,0.9)")


# As a configuration for hydra-optuna-sweeper, but for the name of the sweeper.
PUBLISHED = """
defaults:
  - config
  - override hydra/sweeper: search
  - override hydra/sweeper/sampler: tpe
  - _self_
hydra:
  sweeper:
    sampler:
      seed: 123
      n_startup_trials: 10
    direction: minimize
    study_name: sphere
    storage: null
    n_trials: 20
    n_jobs: 1
    max_failure_rate: 0.2
    params:
      optimizer.lr: tag(log, interval(0.001, 0.1))
      model.width: range(8, 65, step=8)
      activation: choice(relu, tanh)
      optimizer.amsgrad: choice(true, false)
      model.dropout: choice(0, 0.1, 0.2)
"""


def search(*words: str, into: str = "sweep", trials: int = 8, batch: int = 4, **options: Any) -> Swept:
    given = (f"search.n_trials={trials}", f"search.n_jobs={batch}")
    return sweep(*SMALL, *given, *words, into=into, **options)


def read(*words: str, folders: Sequence[Path] = ()) -> Any:
    """The request of a search, without training."""
    with hydra_session():
        return read_sweep(Composer(folders), list(words)).search


def settings(swept: Swept) -> list[tuple[str, str]]:
    return [(row["optimizer.lr"], row["optimizer.momentum"]) for row in swept.rows.values()]


def test_a_search_trains_its_trials_in_batches_and_every_command_repeats_one(folder: Path) -> None:
    swept = search(*SPACE, trials=12)
    assert list(swept.rows) == list(range(12))
    assert len(set(settings(swept))) == 12
    assert [len(plan.items) for plan in swept.looker.plans] == [1, 1, 1]  # a stack each
    assert [plan.total_jobs for plan in swept.looker.plans] == [12, 12, 12]
    assert {row["status"] for row in swept.rows.values()} == {"finished"}
    row = swept.rows[11]
    assert shlex.split(row["command"])[:2] == ["ch12", "train"]
    words = shlex.split(row["command"])[2:]
    assert not [word for word in words if "search" in word]
    alone = train_single([*words, "device=cpu", "hydra.run.dir=alone"], callback=Silent(), log=False)
    assert alone.result.objective == pytest.approx(float(row["objective"]), rel=1e-5)


def test_the_batches_of_a_search_share_one_session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, running = list[str](), list[bool]()
    draw = driver.Search.batch

    def note(path: Path, content: bytes) -> None:
        written.append(path.name)
        write_whole(path, content)

    def look(searching: driver.Search) -> Any:
        running.append(is_locked(searching.directory))
        return draw(searching)

    monkeypatch.setattr("ch12cli.files.sweep_csv.write_whole", note)
    monkeypatch.setattr(driver.Search, "batch", look)
    search(*SPACE, trials=16)
    assert written == ["sweep.csv"] * 2  # before the first batch and after the last
    assert running == [True] * 5
    assert not is_locked(folder / "sweep")


@pytest.mark.slow
def test_later_batches_are_drawn_near_the_best(folder: Path) -> None:
    swept = search(LR, trials=48, batch=16)
    objective = [float(row["objective"]) for row in swept.rows.values()]
    assert sorted(objective[32:])[8] < sorted(objective[:16])[8]  # medians


def test_the_same_command_again_trains_only_what_is_new(folder: Path) -> None:
    first = search(*SPACE)
    again = search(*SPACE)
    assert again.looker.ended == []
    assert [plan.goes_on for plan in [*first.looker.plans, *again.looker.plans]] == [True, False, False]
    more = search(*SPACE, trials=14)
    assert len(more.looker.ended) == 6
    assert [(len(plan.done), plan.total_jobs, plan.goes_on) for plan in more.looker.plans] == [
        (8, 14, True),
        (0, 14, True),
        (0, 14, False),
    ]
    assert without_times(first.rows) == {job: row for job, row in without_times(more.rows).items() if job < 8}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["optuna_tpe", "cmaes"])
def test_a_search_by_a_sampler_of_optuna_goes_on_with_the_same_trials(folder: Path, sampler: str) -> None:
    whole = search(*SPACE, f"search.sampler={sampler}", trials=24, into="whole")
    search(*SPACE, f"search.sampler={sampler}", trials=12)
    assert settings(search(*SPACE, f"search.sampler={sampler}", trials=24)) == settings(whole)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5])
def test_a_killed_search_goes_on_with_the_same_trials(folder: Path, seconds: float) -> None:
    whole = search(*SPACE, trials=40, batch=8, into="whole")
    for _ in range(KILLS):
        kill_after(seconds, lambda: search(*SPACE, trials=40, batch=8))
    killed = search(*SPACE, trials=40, batch=8)
    assert list(killed.rows) == list(range(40))
    assert settings(killed) == settings(whole)
    assert [row["objective"] for row in killed.rows.values()] == [row["objective"] for row in whole.rows.values()]


def test_a_search_that_was_stopped_names_its_own_command_until_it_has_ended(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*SPACE, "search.repeats=2")
    whole = search(*words, into="whole")
    search(*words, looker=Stopping(8), signalled=True)  # both seeds of the first four of eight settings
    capsys.readouterr()
    assert main(["resume", "sweep"]) == 0
    printed = capsys.readouterr().out
    assert "finished  all 8 jobs done earlier\n          4 of 8 trials; the search goes on with: ch12 train" in printed
    command = printed.partition("goes on with: ")[2].splitlines()[0]
    assert main(["show", "sweep"]) == 0
    shown = capsys.readouterr().out
    assert "4 of 8 trials" in shown
    assert main(["show", "sweep", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["resume"] == command
    assert main(shlex.split(command)[1:]) == 0
    assert settings(Swept(whole.finished, folder / "sweep", table(folder / "sweep"), Looker())) == settings(whole)
    capsys.readouterr()
    for verb in ("resume", "show"):  # the search is complete
        assert main([verb, "sweep"]) == 0
        assert command not in capsys.readouterr().out


def test_a_search_that_has_tried_its_whole_space_does_not_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(*SMALL, "search.n_trials=9", "optimizer.lr=0.1,0.01")
    assert main(["show", "sweep"]) == 0
    assert "trials" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_a_search_on_a_full_disk_names_the_command_that_goes_on_with_it(folder: Path) -> None:
    (folder / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", "disk"], check=True)
    try:
        words = [*SMALL, LR, "search.n_trials=64", "search.n_jobs=8", "device=cpu", "sweep.record=compact"]
        line = [sys.executable, "-m", "ch12cli", "train", "-m", "-q", *words, "hydra.sweep.dir=disk/sweep"]
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        command = shlex.split(done.stderr.partition("No space left on device; when that is fixed, continue with: ")[2])
        assert command[:3] == ["ch12", "train", "-m"]
        subprocess.run(["mount", "-o", "remount,size=20m", "disk"], check=True)
        subprocess.run([sys.executable, "-m", "ch12cli", *command[1:]], check=True, capture_output=True)
        assert len(table(folder / "disk/sweep")) == 64
    finally:
        subprocess.run(["umount", "-l", "disk"], check=True)


def test_a_search_goes_on_until_its_space_its_budget_and_its_finalists_are_done(folder: Path) -> None:
    def goes_on(*words: str, into: str) -> list[bool]:
        return [plan.goes_on for plan in sweep(*SMALL, "search.n_jobs=2", *words, into=into).looker.plans]

    whole = ("optimizer.lr=0.1,0.01,0.001", "search.n_trials=9")
    assert goes_on(*whole, into="space") == [True, False]
    assert goes_on(*whole, into="space") == [False]
    epochs = (*SPACE, "epochs=3", "search.epochs=12")
    assert goes_on(*epochs, into="epochs") == [True, False]
    assert goes_on(*epochs, into="epochs") == [False]
    final = (*SPACE, "search.n_trials=2", "search.finalists=1")
    assert goes_on(*final, into="final") == [True, False]
    assert goes_on(*final, into="final") == [False, False]


@pytest.mark.slow
def test_two_processes_on_one_search_do_not_damage_it(folder: Path) -> None:
    children = [in_child(lambda: search(*SPACE, trials=24, batch=8)) for _ in range(2)]
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert codes[0] == 0
    swept = search(*SPACE, trials=24, batch=8)
    assert list(swept.rows) == list(range(24))
    assert settings(swept) == settings(search(*SPACE, trials=24, batch=8, into="whole"))


def test_each_setting_is_trained_with_several_seeds_in_one_stack(folder: Path) -> None:
    swept = search(*SPACE, "search.repeats=3", "seed=5", trials=4)
    assert [row["seed"] for row in swept.rows.values()] == ["5", "6", "7"] * 4
    assert len(set(settings(swept))) == 4
    assert [len(item.jobs) for plan in swept.looker.plans for item in plan.items] == [12]


@pytest.mark.slow
def test_a_finite_space_ends_when_all_of_it_has_been_tried(folder: Path) -> None:
    swept = search("optimizer.lr=0.1,0.01,0.001", trials=50)
    assert {row["optimizer.lr"] for row in swept.rows.values()} == {"0.1", "0.01", "0.001"}
    assert "all 3 settings of the space have been tried" in swept.looker.messages


@pytest.mark.slow
def test_failed_and_diverged_settings_do_not_end_a_search(folder: Path) -> None:
    swept = search("optimizer.lr=tag(log,interval(1e-3,1e3))", trials=12)
    statuses = {row["status"] for row in swept.rows.values()}
    assert statuses == {"finished", "diverged"}
    assert len(swept.rows) == 12


@pytest.mark.slow
def test_a_pruner_stops_all_but_the_best_of_a_batch(folder: Path) -> None:
    swept = search(LR, "search.pruner=median", "epochs=8", trials=16, batch=8)
    left = [row["left_at"] for row in swept.rows.values()]
    assert left.count("2") == 8  # half of each batch
    assert left.count("4") == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["search.repeats=3"], ["search.repeats=3", "sweep.max_stacked=7"], ["dataset.folds=5"]]
)
def test_a_pruner_stops_the_seeds_and_folds_of_a_setting_together_by_their_mean(folder: Path, words: list[str]) -> None:
    swept = search(LR, "search.pruner=median", "epochs=8", "precision=float64", *words, trials=6, batch=6)
    whole = search(LR, "epochs=8", "precision=float64", *words, trials=6, batch=6, into="whole")
    of_setting: dict[str, list[int]] = {}
    for job, row in swept.rows.items():
        of_setting.setdefault(row["optimizer.lr"], []).append(job)
    assert len(of_setting) == 6
    running = set(of_setting)
    column = "valid_loss" if "dataset.folds=5" in words else "train_loss"
    for rung, kept in ((2, 3), (4, 1)):
        means = {}
        for setting in running:
            paths = [whole.directory / str(job) / "metrics.csv" for job in of_setting[setting]]
            means[setting] = sum(read_metrics(path)[rung - 1][column] for path in paths) / len(paths)
        left = {key for key in running for job in of_setting[key] if swept.rows[job]["left_at"] == str(rung)}
        running = set(sorted(running, key=means.__getitem__)[:kept])
        assert left == set(means) - running
    assert {swept.rows[job]["left_at"] for key in running for job in of_setting[key]} == {""}
    for jobs in of_setting.values():
        assert len({swept.rows[job]["left_at"] for job in jobs}) == 1


@pytest.mark.slow
def test_the_best_settings_are_trained_with_more_seeds_at_the_end(folder: Path) -> None:
    swept = search(*SPACE, "search.finalists=2")
    by_value = sorted(list(swept.rows.values())[:8], key=lambda row: float(row["objective"]))
    finals = list(swept.rows.values())[8:]
    assert [row["seed"] for row in finals] == ["2", "3", "4", "5", "6"] * 2
    assert {row["optimizer.lr"] for row in finals} == {row["optimizer.lr"] for row in by_value[:2]}
    best = best_setting(swept.finished.outcome.rows, swept.finished.monitor)
    assert best is not None
    assert (best.settings, best.runs) == (8, 6)
    assert search(*SPACE, "search.finalists=2").looker.ended == []


def test_several_objectives_are_improved_together_and_the_front_is_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (LR, "model=mlp", "model.width=2,4,8,16", "dataset.valid_size=0.2")
    swept = search(*words, "search.objectives=[valid_loss,parameters]", trials=12, batch=6)
    points = {(float(row["objective"]), int(row["parameters"])) for row in swept.rows.values()}
    best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    front = front_of(read_sweep_rows(swept.directory), recorded_objectives(swept.directory), "valid_loss")
    assert {(each.means["valid_loss"], each.means["parameters"]) for each in front} == best
    assert main(["show", str(swept.directory)]) == 0
    title = "setting that no other one beats" if len(best) == 1 else f"{len(best)} settings that no other one beats"
    assert title in capsys.readouterr().out
    plots = sweep_plots(swept.directory, ["optimizer.lr", "model.width"], list(swept.finished.outcome.rows))
    titles = [plot.title.partition(": ")[2] for plot in plots]
    assert titles[:2] == ["best validation loss so far", "validation loss against parameters"]
    assert "what validation loss depends on" in titles
    assert write_study(swept.directory, "study.log").states == {"complete": 12}
    found = read_study("study.log", read(LR, "search.n_trials=4").space, ["valid_loss", "parameters"])
    assert {trial.values for trial in found} == points


def test_a_setting_without_all_its_seeds_is_not_on_the_front_in_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (LR, "model=mlp", "model.width=2,4,8", "dataset.valid_size=0.2", "search.repeats=2")
    swept = search(*words, "search.objectives=[valid_loss,parameters]", trials=6, batch=6)

    def front() -> dict[int, dict[str, str]]:
        capsys.readouterr()
        assert main(["show", "--format", "json", str(swept.directory)]) == 0
        return {each["job"]: each["values"] for each in json.loads(capsys.readouterr().out)["front"]}

    job, values = next(iter(front().items()))
    table = swept.directory / "sweep.csv"
    kept = [line for line in table.read_text().splitlines(keepends=True) if not line.startswith(f"{job},")]
    table.write_text("".join(kept))
    shutil.rmtree(swept.directory / f"{job}")
    assert (left := front())
    assert values not in left.values()


def test_the_end_of_a_search_shows_what_show_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["train", "-m", *SMALL, "device=cpu", "dataset.valid_size=0.2", LR]
    objectives = ["model=mlp", "model.width=2,4", "search.n_trials=4", "search.objectives=[valid_loss,parameters]"]
    for words, name, expected in (
        (["search.n_trials=1"], "one", "optimizer.lr  best valid loss"),
        (["search.n_trials=2", "search.finalists=1"], "finals", "over 6 seeds"),
        (["search.n_trials=6", "search.pruner=median", "search.finalists=1"], "pruned", "settings, 3 of them pruned:"),
        (objectives, "front", "that no other one beats in all objectives:"),
    ):
        assert main([*small, *words, f"hydra.sweep.dir={name}"]) == 0
        printed = capsys.readouterr().out
        assert printed.count("best of") <= 1  # nothing is said twice
        at_the_end = printed.split("\n\n")
        assert main(["show", name]) == 0
        shown = capsys.readouterr().out.split("\n\n")[1:-1]
        assert shown == at_the_end[-1 - len(shown) : -1]  # the table and the best, before the directory
        assert any(expected in block for block in shown)
        assert not [block for block in shown if "best of" in block and name == "front"]


@pytest.mark.slow
def test_budgets_end_a_search(folder: Path) -> None:
    by_epochs = sweep(*SMALL, LR, "search.epochs=24", "search.n_jobs=5")
    assert len(by_epochs.rows) == 12
    by_time = sweep(*SMALL, LR, "search.timeout=0.5s", "search.n_jobs=2", into="timed")
    assert 2 <= len(by_time.rows) < 500


def test_a_budget_of_time_is_kept_for_the_finalists_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, report = [0.0], driver.Search.report

    def after_a_second_each(search: driver.Search, settings: Any, rows: Any) -> None:
        clock[0] += len(settings)
        report(search, settings, rows)

    monkeypatch.setattr(driver, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(driver.Search, "report", after_a_second_each)
    swept = search(LR, "search.timeout=20s", "search.finalists=1", trials=1000, batch=8)
    # the first tell the speed; five seconds of the twenty are for the five further seeds of the best
    assert [sum(map(len, (item.jobs for item in plan.items))) for plan in swept.looker.plans] == [4, 8, 3, 5]


@pytest.mark.parametrize(("seconds", "finalists", "batches"), [(20, 1, [4, 8, 8, 6, 5]), (1, 2, [4, 5])])
def test_few_finalists_have_the_time_of_a_whole_batch(
    seconds: int, finalists: int, batches: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, report = [0.0], driver.Search.report

    def after_four_seconds(search: driver.Search, settings: Any, rows: Any) -> None:
        clock[0] += 4 if len(settings) else 0  # whatever their number
        report(search, settings, rows)

    monkeypatch.setattr(driver, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(driver.Search, "report", after_four_seconds)
    swept = search(LR, f"search.timeout={seconds}s", f"search.finalists={finalists}", trials=1000, batch=8)
    # a finalist at least, be the time over
    assert [sum(map(len, (item.jobs for item in plan.items))) for plan in swept.looker.plans] == batches
    assert ("there was no time for 1 of 2 finalists" in swept.looker.messages) is (finalists == 2)


def test_a_resumed_search_trains_its_finalists_within_a_budget_of_time(folder: Path) -> None:
    search(*SPACE, trials=4)
    resumed = search(*SPACE, "search.timeout=60s", "search.finalists=2", trials=4)
    assert [row["seed"] for row in list(resumed.rows.values())[4:]] == ["2", "3", "4", "5", "6"] * 2


def test_more_repeats_add_the_seeds_that_are_missing(folder: Path) -> None:
    search(*SPACE, trials=4)
    more = search(*SPACE, "search.repeats=2", trials=4)
    assert [row["seed"] for row in list(more.rows.values())[4:]] == ["2"] * 4
    assert search(*SPACE, trials=4).looker.ended == []


def test_jobs_of_another_search_do_not_count(folder: Path) -> None:
    first = search(*SPACE, trials=4)
    other = search(*SPACE, "epochs=3", trials=4)
    assert len(other.looker.ended) == 4
    said = "4 jobs there are not of this search, because of other overrides or ranges, and not counted"
    assert said in other.looker.messages
    assert {row.job for row in other.finished.outcome.rows} == {4, 5, 6, 7}
    assert len(other.rows) == 8
    assert not [line for line in first.looker.messages if "not of this search" in line]


def test_a_search_does_not_go_on_with_other_data(folder: Path) -> None:
    rows = [f"{number},{number % 7},{number * 0.5}" for number in range(40)]
    Path("mine.csv").write_text("\n".join(["a,b,y", *rows]), encoding="utf-8")
    words = ("train", "-q", "-m", "dataset=table", "dataset.file=mine.csv", "epochs=2", LR, "hydra.sweep.dir=sweep")
    assert main([*words, "search.n_trials=4"]) == 0
    before = Path("sweep/sweep.csv").read_bytes()
    Path("mine.csv").write_text("\n".join(["a,b,y", *rows]).replace(".5", ".25"), encoding="utf-8")
    for trials in (4, 8):  # even where nothing is left to train
        assert main([*words, f"search.n_trials={trials}"]) == 2
    assert Path("sweep/sweep.csv").read_bytes() == before


def test_conditions_constraints_and_start_points(folder: Path) -> None:
    request = read(
        "hydra/sweeper=search",
        "optimizer=adam,sgd",
        "optimizer.momentum=interval(0,0.9)",
        "model.width=int(interval(1,64))",
        "model.depth=1,2,3",
        'search.when={optimizer.momentum: "optimizer=sgd"}',
        "search.constraints=['model.width * model.depth <= 64', 'epochs > 1']",
        "search.start=[{optimizer: adam, model.width: 8, model.depth: 2}]",
    )
    assert [parameter.key for parameter in request.space.parameters][-1] == "optimizer.momentum"
    assert request.allows({"optimizer": "adam", "model.width": "32", "model.depth": "2"})
    assert not request.allows({"optimizer": "adam", "model.width": "33", "model.depth": "2"})
    assert request.settings.start == ({"optimizer": "adam", "model.width": "8", "model.depth": "2"},)


def test_a_mistyped_key_of_a_file_of_ranges_is_named(folder: Path) -> None:
    (folder / "mine" / "search").mkdir(parents=True)
    (folder / "mine" / "search" / "wrong.yaml").write_text("parms: {optimizer.lr: 'interval(0.1,0.2)'}\n")
    with pytest.raises(InputError, match=r"search=wrong: a file of ranges has no parms; did you mean `params`\?"):
        read("search=wrong", folders=[folder / "mine"])


def test_the_only_setting_of_a_space_is_named_as_one(folder: Path) -> None:
    swept = search("optimizer.lr=choice(0.01)", trials=4)
    assert "the only setting of the space has been tried" in swept.looker.messages


def test_ranges_in_a_file_are_read_as_those_of_the_published_plugin(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "optuna.yaml").write_text(PUBLISHED)
    with hydra_session():
        request = read_sweep(Composer([folder / "mine"], config_name="optuna"), ["model.dropout=0.1"]).search
    assert request is not None
    assert (request.settings.sampler, request.settings.seed, request.batch) == ("tpe", 123, 1)
    assert request.settings.n_trials == 20
    counts = {parameter.key: parameter.count for parameter in request.space.parameters}
    assert counts == {"optimizer.lr": float("inf"), "model.width": 8, "activation": 2, "optimizer.amsgrad": 2}
    assert request.fixed == ("model.dropout=0.1",)


@pytest.mark.slow
def test_a_search_learns_from_an_earlier_sweep(folder: Path) -> None:
    sweep(*SMALL, "optimizer.lr=0.0001,0.001,0.01,0.05", "optimizer.momentum=0,0.4,0.8,0.9", into="grid")
    swept = search(*SPACE, "search.from=grid", trials=8, batch=8)
    values = sorted(float(row["optimizer.lr"]) for row in swept.rows.values())
    assert values[4] > 0.005  # near the best of the grid at once; drawn evenly, the median would be 0.003
    with pytest.raises(InputError, match="has no job in this space"):
        search("optimizer.lr=interval(10,20)", "search.from=grid", into="elsewhere")


def test_folds_are_repetitions_of_a_trial() -> None:
    request = read("search.repeats=2", LR, "dataset.folds=3")
    assert len(request.repetitions) == 6
    assert request.repetitions[4] == ("seed=2", "dataset.fold=1")
    assert read("search.repeats=2", LR, "dataset.folds=3", "dataset.fold=1").repetitions == (("seed=1",), ("seed=2",))


@pytest.mark.sample(7)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((LR, "search.n_trial=3"), "search.n_trial=3: no such key; did you mean `search.n_trials`?"),
        ((LR, "search.n_trials=0"), "search.n_trials=0: must be auto, or a whole number from 1"),
        (
            (LR, "search.timeout=5x"),
            "search.timeout=5x: must be null, or a time greater than 0, such as 90s, 10m or 2h",
        ),
        (
            (LR, "search.timeout=0s"),
            "search.timeout=0s: must be null, or a time greater than 0, such as 90s, 10m or 2h",
        ),
        ((LR, "search.sampler=grid"), "search.sampler=grid: must be one of tpe, sobol, random, optuna_tpe"),
        ((LR, "search.sampler=cmaes"), "search.sampler=cmaes: needs two ranges or more"),
        ((LR, "search.direction=maximize"), "valid_loss is better the lower it is"),
        ((LR, "search.direction=[minimize,minimize]"), "must have one for each of 1 objectives"),
        ((LR, "search.objectives=[parameters]"), "must list each once, and valid_loss, which is the monitor"),
        ((LR, "search.objectives=[valid_loss,seconds]"), "there is no seconds"),
        ((LR, "search.objectives=[valid_loss,valid_f1]"), "f1 is not computed; add 'metrics=[f1]'"),
        ((LR, "search.objectives=[valid_loss,parameters]", "search.pruner=median"), "takes a single objective"),
        ((LR, "search.start=[{optimizer.lr: 3}]"), "search.start={optimizer.lr: 3}: is not in the space"),
        ((LR, "search.start=[{optimizer.lr: 3}]"), "optimizer.lr=3 is not from 0.0001 to 0.1"),
        (
            (LR, "activation=relu,tanh", "search.start=[{optimizer.lrr: 0.01, activation: elu}]"),
            "optimizer.lrr is not searched (did you mean `optimizer.lr`?), activation=elu is not one of relu, tanh, "
            "optimizer.lr has no value",
        ),
        (
            (LR, "model.width=int(interval(1,64))", "search.start=[{optimizer.lr: 0.01, model.width: 8.5}]"),
            "is not in the space: model.width=8.5 is not a whole number from 1 to 64",
        ),
        ((LR, "search.start={optimizer.lr: 0.01}"), "must be null, or a list of settings, as 'search.start=["),
        ((LR, "search.start=[{optimizer.lr: 0.01, batch_size: 4}]"), "batch_size: 4}: is not in the space"),
        ((LR, "search.constraints={a: 1}"), "search.constraints={a:1}: must be null, or a list"),
        ((LR, "search=small", "search.constraints=5"), "search.constraints=5: must be null, or a list"),
        ((LR, "search=small", "search.when=7"), "search.when=7: must be null, or a mapping"),
        (
            (LR, "search.constraints=a<1"),
            "search.constraints=a<1: not understood; quote the value, because of <: 'search.",
        ),
        ((LR, "search.structures=0"), "search.structures=0: must be null, or a whole number from 1"),
        ((LR, "search.constraints=['import os']"), "must compare keys and numbers"),
        ((LR, "search.constraints=['no.key > 1']"), "no.key is no key of these runs"),
        ((LR, "search.pruner=halving", "epochs=2"), "there is no rung before the last of 2 epochs"),
        ((LR, "search.n_trials=4", "search=none_such"), "search=none_such: no such file of ranges"),
        (
            (LR, "search.start=[5]"),
            "search.start=[5]: must be null, or a list of settings, as 'search.start=[{optimizer.lr: 0.01}]'",
        ),
        ((LR, "search.epochs=99"), "search.epochs=99: is less than a setting takes: 100 epochs"),
        ((LR, "search.when={optimizer.lr: 'no.key=1'}"), "search.when.optimizer.lr: no.key is no key of these runs"),
        (
            ("search.n_trials=4", "optimizer.lr=0.1,0.2", "search.when={optimizer.lr: 'optimizer=sgd'}"),
            "search.when.optimizer.lr=optimizer=sgd: never holds, because all runs have optimizer=adam; "
            "search optimizer too, or leave it out",
        ),
        (("search.n_trials=4", "dataset.fold=0,1"), "a fold is no setting to search; leave it out"),
        (("search.n_trials=4", "optimizer.lr=tag(log,interval(1e-300,1e300))"), "its bounds are too far apart"),
        (("search.n_trials=4",), "nothing is searched"),
        (("search.n_trials=4", "seed=1,2"), "search.repeats=3 trains each setting with three seeds"),
        (("search.n_trials=4", "optimizer.lr=interval(-1,1)"), "optimizer.lr=-1.0: must be a number greater than 0"),
        (("search.n_trials=4", "optimizer.lr=interval(1,0)"), "its first bound must not be greater"),
        (("search.n_trials=4", "optimizer.lr=tag(lin,interval(1,2))"), "there is no tag lin"),
        (("search.n_trials=4", "optimizer=adam,sdg"), "optimizer=sdg: no such choice; did you mean `sgd`?"),
        (("search.n_trials=4", "optimizer.momentum=interval(0,1)"), "optimizer=adam has no momentum"),
        (
            ("search.n_trials=4", "optimizer=adam,sgd", "optimizer.momentum=interval(0,1)"),
            "optimizer=adam has no momentum; say which it is for: 'search.when={optimizer.momentum:",
        ),
        ((LR,), "or add hydra/sweeper=search to draw some"),
        ((LR, "hydra/sweeper=serch"), "hydra/sweeper=serch: no such choice; did you mean `search`?"),
        ((LR, "search.constraints=model.width"), "or a list, as 'search.constraints=[\"model.width <= 64\"]'"),
    ],
)
def test_a_mistake_in_a_search_is_refused_before_anything_is_trained(words: Sequence[str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        read(*words)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ("1/0 < optimizer.lr", "division by zero"),
        ("1 // (seed - 1) < optimizer.lr", "integer division or modulo by zero"),
        ("optimizer.lr < 'x'", "'<' not supported between instances of 'float' and 'str'"),
    ],
)
def test_a_constraint_that_cannot_be_computed_is_named(constraint: str, reason: str, folder: Path) -> None:
    with pytest.raises(InputError) as raised:
        search("optimizer.lr=0.1,0.01", f'search.constraints=["{constraint}"]')
    assert str(raised.value) == f"search.constraints={constraint}: cannot be computed of any setting: {reason}"


def test_a_constraint_that_has_no_value_for_some_settings_leaves_these_out(folder: Path) -> None:
    swept = search("optimizer.lr=0.1,0.01", "optimizer.momentum=0,0.5", 'search.constraints=["1/optimizer.momentum>0"]')
    assert {row["optimizer.momentum"] for row in swept.rows.values()} == {"0.5"}


def test_a_condition_of_a_file_of_ranges_may_be_idle() -> None:
    space = read("search=small", "optimizer=adam").space
    assert "optimizer.momentum" not in space.setting(np.full(len(space.parameters), 0.5))


@pytest.mark.slow
def test_a_search_whose_constraints_never_hold_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"search.constraints: no setting was found of which they hold"):
        search(LR, "search.constraints=['optimizer.lr > 5']")


def test_a_search_without_m_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"search.n_trials=4: is of a search; add -m"):
        train_single(["search.n_trials=4"], callback=Silent(), log=False)


def test_the_plan_of_a_search_is_that_of_its_first_batch(folder: Path) -> None:
    plan, _ = plan_many(
        [*SMALL, LR, "search.n_trials=32", "search.n_jobs=8", "device=cpu", "hydra.sweep.dir=planned"],
        folders=(),
        config_name="config",
    )
    assert (len(plan.jobs), plan.total_jobs) == (8, 32)
    assert not Path("planned").exists()


@pytest.mark.parametrize(
    ("key", "number"), [("seed", 0), ("seed", -12), ("optimizer.lr", 1e-05), ("optimizer.lr", 0.1), ("+x", -1.5e300)]
)
def test_a_number_is_read_as_hydra_reads_it(key: str, number: float) -> None:
    with hydra_session():
        jobs = JobComposer(Composer(), [])
        (expected,) = jobs.composer.parse([f"{key}={number!r}"], [])
        found = jobs.parse(f"{key}={number!r}")
    assert found == expected
    assert found is not None
    assert repr(found.value()) == repr(number)
