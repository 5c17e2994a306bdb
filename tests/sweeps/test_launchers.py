"""It is Hydra's sweep: other launchers, batches, callbacks, and the files that Hydra itself would write."""

import multiprocessing
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ch12cli.config.choices import shipped
from ch12cli.errors import InputError
from ch12cli.sweeps.start import plan_many
from ch12cli.sweeps.workers.worker_pool import LocalEngine
from tests.conftest import Train
from tests.sweeps.callbacks import Keeper
from tests.sweeps.driver import Looker, apart, sweep

TINY = ("dataset=toy_regression", "epochs=3", "batch_size=5", "precision=float64", "optimizer=sgd")
CALLBACK = "+hydra.callbacks.keeper._target_=tests.sweeps.callbacks.Keeper"

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    Keeper.kept.clear()


@pytest.fixture
def unlucky(folder: Path) -> Path:
    (folder / "mine" / "model").mkdir(parents=True)
    text = "_target_: tests.sweeps.networks.Unlucky\nraises: -1\nexits: -1\n"
    (folder / "mine" / "model" / "unlucky.yaml").write_text(text)
    return folder / "mine"


def files_of(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_hydras_basic_launcher_trains_each_job_like_a_single_run(train: Train) -> None:
    words = (*TINY, "optimizer.lr=0.1,0.01", "seed=1,2")
    swept = sweep(*words, "hydra/launcher=basic")
    stacked = sweep(*words, into="stacked")
    assert list(swept.rows) == [0, 1, 2, 3]
    assert swept.looker.plans == []  # not ours
    for job, row in swept.rows.items():
        other = stacked.rows[job]
        assert row["command"] == other["command"]
        assert (row["status"], row["epochs"], row["directory"]) == ("finished", "3", str(job))
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-12)
        assert apart(stacked.weights(job), swept.weights(job)) < 1e-12
    alone = train(*shlex.split(swept.rows[2]["command"])[2:])
    weights = torch.cat([value.reshape(-1) for value in alone.model.state_dict().values()])
    assert torch.equal(swept.weights(2), weights)


APP = """
import hydra

@hydra.main(version_base="1.3", config_path="{folder}", config_name="config")
def main(config):
    pass

main()
"""


def hydra_files(directory: Path, name: str) -> Any:
    return yaml.safe_load((directory / ".hydra" / name).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_hydras_files_are_those_that_hydra_itself_writes() -> None:
    words = (*TINY, "optimizer.betas=[0.8,0.9]", "optimizer=adam", "seed=1,2", "monitor=train_loss", "model=mlp,linear")
    Path("app.py").write_text(APP.format(folder=shipped()))
    own = ["-m", "device=cpu", "hydra.sweep.dir=own", *words, "hydra/launcher=basic"]
    subprocess.run([sys.executable, "app.py", *own], check=True, capture_output=True)
    ours = sweep(*words, into="ours")
    assert len(ours.rows) == 4
    for place in ("0", "1", "2", "3"):
        for name in ("config.yaml", "overrides.yaml"):
            assert hydra_files(Path("ours", place), name) == hydra_files(Path("own", place), name)
        found, expected = (hydra_files(Path(swept, place), "hydra.yaml")["hydra"] for swept in ("ours", "own"))
        assert list(found) == list(expected)
        # what differs because the launcher and the directory do
        assert found.pop("launcher") != expected.pop("launcher")
        assert found["runtime"]["choices"].pop("hydra/launcher") == "stacked"
        assert expected["runtime"]["choices"].pop("hydra/launcher") == "basic"
        assert found["runtime"].pop("output_dir") == str(Path("ours", place).absolute())
        assert expected["runtime"].pop("output_dir") == str(Path("own", place).absolute())
        assert (found["sweep"].pop("dir"), expected["sweep"].pop("dir")) == ("ours", "own")
        lines = expected["overrides"].pop("hydra")
        lines.remove("hydra/launcher=basic")
        assert found["overrides"].pop("hydra") == [line.replace("=own", "=ours") for line in lines]
        assert str(found["job"].pop("id")) == str(expected["job"].pop("id")) == place
        assert found == expected
    assert {path.name for path in Path("ours").iterdir()} - {".ch12", "sweep.csv"} == {
        path.name for path in Path("own").iterdir()
    }


@pytest.mark.slow
def test_a_plan_for_another_launcher_names_it() -> None:
    words = (*TINY, "seed=1,2,3", "hydra/launcher=basic")
    plan, _ = plan_many(["device=cpu", *words], folders=[], config_name="config")
    assert [group.reason for group in plan.groups] == ["hydra/launcher=basic trains each job by itself"]
    assert [item.jobs for item in plan.items] == [(0,), (1,), (2,)]
    assert sweep(*words).looker.messages == [
        "hydra/launcher=basic trains each job by itself, into sweep; the table follows at the end"
    ]


@pytest.mark.slow
def test_jobs_that_fail_under_the_basic_launcher_are_in_the_table(unlucky: Path) -> None:
    words = (*TINY, "model=unlucky", "model.raises=2", "model.exits=3", "seed=1,2,3,4", "hydra/launcher=basic")
    swept = sweep(*words, folders=[unlucky])
    assert swept.failed == 2
    assert [row["status"] for row in swept.rows.values()] == ["finished", "failed", "failed", "finished"]
    assert "no network for seed 2" in swept.rows[1]["error"]
    assert "sys.exit('enough of seed 3')" in swept.rows[2]["error"]


def test_the_basic_launcher_overwrites_nothing() -> None:
    sweep(*TINY, "seed=1,2")
    before = {path: path.read_bytes() for path in Path("sweep").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="holds 0 already, and only hydra/launcher=stacked can resume"):
        sweep(*TINY, "seed=1,2", "hydra/launcher=basic")
    assert {path: path.read_bytes() for path in Path("sweep").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_jobs_of_the_basic_launcher_count_as_done_for_the_stacked_one() -> None:
    sweep(*TINY, "seed=1,2", "hydra/launcher=basic")
    swept = sweep(*TINY, "seed=1,2,3")
    assert [done.number for done in swept.looker.ended] == [2]
    assert [row["status"] for row in swept.rows.values()] == ["finished"] * 3


@pytest.mark.slow
def test_the_basic_launcher_honours_subdir_and_freezes_the_configuration(unlucky: Path) -> None:
    file = unlucky / "model" / "late.yaml"
    file.write_text("_target_: tests.sweeps.networks.rewriting\nfile: late.yaml\n")
    words = (*TINY, "model=late", f"model.file={file}", "seed=1,2,3", "hydra/launcher=basic")
    swept = sweep(*words, "hydra.sweep.subdir=s${seed}", folders=[unlucky])
    assert [row["directory"] for row in swept.rows.values()] == ["s1", "s2", "s3"]
    assert [row["status"] for row in swept.rows.values()] == ["finished"] * 3
    assert file.read_text(encoding="utf-8") == "not: read\n"


@pytest.mark.sample(1)
@pytest.mark.parametrize(("launcher", "batches"), [("stacked", None), ("stacked", 3), ("basic", 3)])
def test_a_callback_is_notified_of_the_sweep_and_of_each_job(launcher: str, batches: int | None) -> None:
    sizes = [] if batches is None else [f"hydra.sweeper.max_batch_size={batches}"]
    swept = sweep(*TINY, "seed=range(7)", CALLBACK, f"hydra/launcher={launcher}", *sizes)
    (keeper,) = Keeper.kept  # one for all of the sweep: it can count its jobs
    what = [name for name, _ in keeper.told]
    assert what == ["multirun start", *["job start", "job end"] * 7, "multirun end"]
    assert keeper.told[0][1] == "MULTIRUN"
    starts = [value for name, value in keeper.told if name == "job start"]
    assert starts == [(number, str((swept.directory / str(number)).absolute()), number) for number in range(7)]
    ends = [value for name, value in keeper.told if name == "job end"]
    common = ["device=cpu", *TINY]
    assert ends == [(number, "COMPLETED", [*common, f"seed={number}"]) for number in range(7)]


@pytest.mark.slow
def test_a_callback_is_notified_of_jobs_from_a_file_and_of_failures(unlucky: Path) -> None:
    Path("jobs.csv").write_text("seed\n1\n2\n3\n")
    words = (*TINY, "model=unlucky", "model.raises=2", CALLBACK)
    swept = sweep(*words, jobs_file=Path("jobs.csv"), folders=[unlucky])
    (keeper,) = Keeper.kept
    ends = {value[0]: value[1] for name, value in keeper.told if name == "job end"}
    assert ends == {0: "COMPLETED", 1: "FAILED", 2: "COMPLETED"}
    assert keeper.told[0][0] == "multirun start"
    assert keeper.told[-1] == ("multirun end", "sweep")
    assert swept.failed == 1


@pytest.mark.slow
def test_a_callback_may_be_in_the_current_directory() -> None:
    Path("my_callback.py").write_text(
        "from hydra.experimental.callback import Callback\n\n\nclass Noting(Callback):\n"
        "    def on_job_end(self, **told):\n        with open('noted', 'a') as file:\n            file.write('job ')\n"
    )
    sweep(*TINY, "seed=1,2", "+hydra.callbacks.mine._target_=my_callback.Noting")
    assert Path("noted").read_text(encoding="utf-8") == "job job "
    with pytest.raises(InputError, match=r"hydra\.callbacks: ") as error:
        sweep(*TINY, "seed=1,2", "+hydra.callbacks.mine._target_=my_callback.Nothing", into="other")
    assert "HYDRA_FULL_ERROR" not in str(error.value)


@pytest.mark.slow
def test_jobs_in_several_batches_equal_those_in_one_batch() -> None:
    words = (*TINY, "optimizer.lr=0.1,0.01", "seed=range(4)")
    looker = Looker()
    swept = sweep(*words, "hydra.sweeper.max_batch_size=3", looker=looker)
    assert [list(plan.jobs) for plan in looker.plans] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert {plan.total_jobs for plan in looker.plans} == {8}
    whole = sweep(*words, into="whole")
    assert list(swept.rows) == list(whole.rows) == list(range(8))
    same = [name for name in whole.rows[0] if name not in ("seconds",)]
    for job in swept.rows:
        assert apart(swept.weights(job), whole.weights(job)) < 1e-12
        assert files_of(swept.directory / str(job)) == files_of(whole.directory / str(job))
        for name in same:
            if name.startswith(("train", "objective")):
                assert float(swept.rows[job][name]) == pytest.approx(float(whole.rows[job][name]), rel=1e-12)
            else:
                assert swept.rows[job][name] == whole.rows[job][name]
    again = sweep(*words, "hydra.sweeper.max_batch_size=5")
    assert again.looker.ended == []
    assert again.rows == swept.rows


@pytest.mark.slow
def test_batches_with_different_data_share_one_table() -> None:
    words = ("epochs=1", "batch_size=30", "seed=1,2", "hydra.sweeper.max_batch_size=2")
    swept = sweep("dataset=iris,toy_regression", *words)
    assert len(swept.rows) == 4
    assert swept.rows[0]["valid_accuracy"] != "" == swept.rows[2]["valid_accuracy"]
    assert swept.rows[2]["train_mae"] != "" == swept.rows[0]["train_mae"]


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["hydra/launcher=ray"], "hydra/launcher=ray: no such choice"),
        (["hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs"),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0"),
        (["+hydra.callbacks.mine._target_=nowhere.Nothing"], "hydra.callbacks"),
    ],
)
def test_unknown_launchers_sweepers_and_callbacks_are_refused(words: list[str], problem: str) -> None:
    with pytest.raises(InputError) as error:
        sweep(*TINY, "seed=1,2", *words)
    assert problem in str(error.value)
    assert not Path("sweep").exists()


def test_a_worker_that_does_not_end_by_itself_is_killed_after_the_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ch12cli.sweeps.workers.worker_pool.PATIENCE", 0.1)
    engine = LocalEngine()
    stubborn = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    stubborn.start()
    engine.leaving.append(stubborn)
    engine.close()
    assert stubborn.exitcode == -signal.SIGKILL
    assert engine.leaving == []
