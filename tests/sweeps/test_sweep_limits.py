"""What a sweep's command line may ask for, and what a run's directory may be."""

import sys
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.sweeps.start import plan_many
from ch12cli.sweeps.workers.worker_pool import ProcessDiedError, call_in_subprocess
from tests.sweeps.driver import one_thread, sweep

TINY = ("dataset=toy_regression", "epochs=2", "batch_size=5", "optimizer=sgd")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed=range(1,10,0)", "seed=range(1,10,0): its step is 0"),
        ("optimizer.lr=range(0.1,1,0.0)", "its step is 0"),
        ("seed=range(1000000000)", "1,000,000,000 jobs: a sweep has 1,000,000 at most"),
        ("seed=range(2000) epochs=range(1,2001)", "4,000,000 jobs"),
        ("seed=range(600000) optimizer.lr=0.1,0.2", "1,200,000 jobs"),
        ("seed=range(600),1", "seed=range(600),1: a range cannot be combined with other values"),
    ],
)
def test_ranges_with_a_zero_step_or_too_many_values_are_refused(word: str, message: str, folder: Path) -> None:
    with pytest.raises(InputError) as refused:
        sweep(*TINY, *word.split())
    assert message in refused.value.messages[0]
    assert not Path("sweep").exists()


@pytest.mark.slow
def test_a_plan_includes_sweeps_of_configuration_files(folder: Path) -> None:
    Path("mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra: {sweeper: {params: {seed: 'range(3)', optimizer.lr: '0.1,0.2'}}}\n"
    Path("mine/experiment/swept.yaml").write_text(text, encoding="utf-8")
    words = [*TINY, "experiment=swept", "device=cpu"]
    with one_thread():
        plan, _ = plan_many(words, folders=[Path("mine")], config_name="config")
    swept = sweep(*words[:-1], folders=[Path("mine")])
    assert len(plan.jobs) == len(swept.rows) == 6
    lines = {number: set(job.overrides) for number, job in plan.jobs.items()}
    assert lines == {number: set(job.overrides) for number, job in swept.looker.plans[0].jobs.items()}


def test_equal_jobs_are_reported(folder: Path) -> None:
    swept = sweep(*TINY, "seed=1,2,2,2")
    assert len(swept.rows) == 2
    assert swept.looker.messages == ["2 more of the jobs given are equal to others; each is trained once"]


def test_a_run_is_not_trained_into_a_sweeps_directory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(*TINY, "seed=1,2")
    before = sorted(Path("sweep").rglob("*"))
    assert main(["train", "-q", *TINY, "hydra.run.dir=sweep"]) == 2
    assert "hydra.run.dir=sweep: holds a sweep; choose another directory" in capsys.readouterr().err
    assert sorted(Path("sweep").rglob("*")) == before


@pytest.mark.sample(1)
@pytest.mark.parametrize("code", ["0", "3", "'bye'"])
def test_a_run_ended_by_the_users_code_is_reported(
    code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("leaving.py").write_text(
        "import sys, torch\nclass Leaving(torch.nn.Linear):\n    def forward(self, x):\n"
        f"        self.n = getattr(self, 'n', 0) + 1\n        sys.exit({code}) if self.n > 3 else None\n"
        "        return super().forward(x)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "leaving", raising=False)
    Path("mine/model").mkdir(parents=True)
    text = "_target_: leaving.Leaving\nin_features: 1\nout_features: 1\n"
    Path("mine/model/leaving.yaml").write_text(text, encoding="utf-8")
    words = ["train", "-q", "--config-dir=mine", *TINY, "epochs=20", "model=leaving", "device=cpu", "hydra.run.dir=run"]
    assert main(words) == 2
    assert f"code of your own called sys.exit({code}), which ended the run" in capsys.readouterr().err


def test_hydra_run_dir_in_a_sweep_and_sweep_dir_in_a_run_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["-m", "seed=1,2", "hydra.run.dir=x"], "hydra.run.dir=x: is of a single run"),
        (["hydra.sweep.dir=x"], "hydra.sweep.dir=x: is of a sweep; add -m"),
    ):
        assert main(["train", "-q", *TINY, *words]) == 2
        assert message in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_networks_that_fail_their_trial_are_reported_with_their_jobs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gone.py").write_text(
        "import sys, torch\nclass Gone(torch.nn.Linear):\n    def __init__(self, code):\n        sys.exit(code)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "gone", raising=False)
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/gone.yaml").write_text("_target_: gone.Gone\ncode: 1\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        sweep(*TINY, "model=gone", "model.code=7,8", folders=[Path("mine")])
    assert refused.value.messages == ["it called sys.exit(7) (job 0)", "it called sys.exit(8) (job 1)"]


def interrupted() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_ends_a_helping_process_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProcessDiedError, match="exit code 130"):
        call_in_subprocess(interrupted)
    assert capfd.readouterr().err == ""
