"""Sweeps on an engine against the same sweeps in processes of this machine: the same networks, each recorded once."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.engines import bundles, remote, work
from ch12cli.engines.slurm import Slurm
from ch12cli.errors import InputError
from ch12cli.files.cluster.bundle_json import read_submissions
from ch12cli.files.cluster.journal import bundle_states
from ch12cli.files.plan_json import read_plan
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.sweeps.resume import recorded_engine
from ch12cli.sweeps.workers.attempts import SupersededError
from tests.engines.conftest import ROOT

WORDS = (
    "dataset=toy_regression",
    "epochs=3",
    "batch_size=5",
    "optimizer.lr=0.01,0.1",
    "seed=range(6)",
    "sweep.max_stacked=4",
)

pytestmark = pytest.mark.usefixtures("folder")


def train(*words: str) -> int:
    return main(["train", "-q", "-m", "device=cpu", *WORDS, *words])


def models(sweep: str) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in Path(sweep).glob("*/model.pt")}


def rows(sweep: str) -> list[tuple[int, str, float | None]]:
    return [(row.job, row.status, row.objective) for row in read_sweep_csv(Path(sweep, "sweep.csv"))]


def test_a_sweep_on_slurm_equals_the_local_one_and_is_collected_by_a_resume(slurm: Path) -> None:
    assert train("hydra.sweep.dir=here") == 0
    launcher = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=1", "--detach")
    assert train("hydra.sweep.dir=there", *launcher, "hydra.launcher.partition=fast") == 0
    assert "--partition=fast" in (slurm / "sbatch.txt").read_text()
    assert main(["resume", "-q", "there"]) == 0
    assert len(read_submissions(Path("there"))) == 1  # the resume waited for what was submitted
    assert models("there") == models("here")
    assert len(models("here")) == 12
    assert rows("there") == rows("here")
    assert not list(Path("there/.ch12").glob("*.pt"))


FAILING = """
import torch
class Network(torch.nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        if torch.initial_seed() == 2:
            raise ValueError("no such network")
        super().__init__(inputs, outputs)
"""


def test_the_log_of_a_task_says_what_it_trained_and_which_jobs_failed(
    slurm: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    (folder / "failing.py").write_text(FAILING)
    (folder / "mine/model").mkdir(parents=True)
    (folder / "mine/model/failing.yaml").write_text("_target_: failing.Network")
    words = ("epochs=2", "seed=1,2", "--config-dir", "mine", "model=failing", "hydra/launcher=slurm")
    assert main(["train", "-q", "-m", "device=cpu", "hydra.sweep.dir=there", *words]) == 3
    (log,) = Path("there/.ch12/bundles").glob("*.log")
    lines = log.read_text().splitlines()
    assert lines[0] == f"bundle {log.stem}, attempt 1: trains 2 jobs"
    assert "job 1 failed: model: failing.Network refused: no such network (failing.py, line 6)" in lines
    assert lines[-1] == f"bundle {log.stem}: done, 1 job failed"
    assert main(["train", "-q", "-m", "device=cpu", "hydra.sweep.dir=here", "hydra/launcher=slurm", "seed=1,2"]) == 0
    capsys.readouterr()
    assert main(["work", "here", "--stack", "0"]) == 0
    assert capsys.readouterr().out == "bundle 0, attempt 2: all of its jobs have ended\n"


def test_a_superseded_attempt_leaves_no_directory_half_written(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train("hydra.sweep.dir=there", "hydra/launcher=slurm", "seed=1,2", "optimizer.lr=0.1") == 0
    for name in (".0.partial-0.2", ".0.partial-0.3", ".9.partial-0.2"):  # 0.2: of the attempt that begins now
        Path("there", name, ".hydra").mkdir(parents=True)

    def superseded(*_arguments: object, **_options: object) -> None:
        raise SupersededError("a newer attempt has begun")

    monkeypatch.setattr(work, "train_bundle", superseded)
    assert work.work_on(Path("there"), 0, trust=False, tell=print) == 137
    assert sorted(path.name for path in Path("there").glob(".*.partial*")) == [".0.partial-0.3", ".9.partial-0.2"]


def test_only_what_slurm_trains_can_be_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "seed=1,2", "--detach"]) == 2
    assert "--detach: only for a sweep that Slurm trains" in capsys.readouterr().err


def test_a_resume_waits_for_the_results(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("hydra.sweep.dir=there", "hydra/launcher=slurm") == 0
    assert main(["resume", "there", "hydra.launcher.wait=false"]) == 2
    assert "hydra.launcher.wait=false: a resume waits for the results" in capsys.readouterr().err


def test_a_launcher_without_a_sweep_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--detach",)):
        assert main(["train", "hydra/launcher=slurm", *words]) == 2
        assert "hydra/launcher=slurm: only for a sweep; add -m, or leave it out" in capsys.readouterr().err


@pytest.mark.slow
def test_items_are_cut_by_the_time_that_they_are_measured_to_take(
    slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=50")  # ten seconds, of which half is filled
    words = ("hydra/launcher=slurm", *limit, "hydra.launcher.array_parallelism=1", "sweep.max_stacked=auto", "--plan")
    assert train(*words, "model=mlp", "model.width=200", "model.depth=2", "batch_size=25", "epochs=100000") == 0
    told = capsys.readouterr().out
    assert "1 stack of 12 runs" not in told
    assert "goes on where the limit ends it" in told
    assert not (slurm / "sbatch.txt").exists()


@pytest.mark.slow
def test_a_sweep_on_an_executor_equals_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    assert train("hydra.sweep.dir=here") == 0
    executor = "hydra.launcher.executor={_target_: concurrent.futures.ThreadPoolExecutor, max_workers: 2}"
    assert train("hydra.sweep.dir=there", "hydra/launcher=executor", executor, "hydra.launcher.parallel=2") == 0
    assert models("there") == models("here")
    assert rows("there") == rows("here")
    shutil.rmtree("there/1")
    assert main(["resume", "there", "--trust", "-q"]) == 0
    assert models("there") == models("here")


def test_a_search_that_is_not_waited_for_is_refused(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("hydra/sweeper=search", "search.n_trials=4", "optimizer.lr=interval(0.01,0.1)")
    assert main(["train", "-m", *words, "hydra/launcher=slurm", "hydra.launcher.wait=false"]) == 2
    assert "hydra.launcher.wait=false: a search needs the results" in capsys.readouterr().err


SEARCH = (
    "dataset=toy_regression",
    "epochs=2",
    "hydra/sweeper=search",
    "search.n_trials=8",
    "search.n_jobs=4",
    "search.sampler=random",
    "optimizer.lr=tag(log,interval(0.001,0.1))",
)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["slurm", "executor"])
def test_a_search_on_an_engine_equals_the_local_one(slurm: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    executor = "hydra.launcher.executor={_target_: concurrent.futures.ThreadPoolExecutor, max_workers: 2}"
    launcher = [f"hydra/launcher={engine}", *([executor] if engine == "executor" else [])]
    assert main(["train", "-q", "-m", "device=cpu", *SEARCH, "hydra.sweep.dir=here"]) == 0
    assert main(["train", "-q", "-m", "device=cpu", *SEARCH, "hydra.sweep.dir=there", *launcher]) == 0
    assert len(read_submissions(Path("there"))) == 2
    assert rows("there") == rows("here")
    assert models("there") == models("here")


@pytest.mark.slow
def test_a_search_whose_submitter_was_killed_goes_on(slurm: Path) -> None:
    words = ["train", "-q", "-m", "device=cpu", *SEARCH, "epochs=150", "hydra/launcher=slurm"]
    assert main([*words, "hydra.sweep.dir=here", "hydra/launcher=stacked"]) == 0
    line = [sys.executable, "-m", "ch12cli", *words, "hydra.sweep.dir=there"]
    with subprocess.Popen(line) as process:
        deadline = time.monotonic() + 120
        while not read_submissions(Path("there")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    assert main([*words, "hydra.sweep.dir=there"]) == 0
    assert len(read_submissions(Path("there"))) == 2
    assert rows("there") == rows("here")
    assert models("there") == models("here")


def test_without_slurm_nothing_is_left_behind(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert train("hydra/launcher=slurm", "hydra.sweep.dir=there") == 2
    assert "sbatch was not found" in capsys.readouterr().err
    assert not list(folder.iterdir())


PACKAGES = {"dask", "distributed", "executorlib", "loky", "ray", "submitit"}


@pytest.mark.slow
def test_no_package_of_an_engine_is_imported_unless_it_is_asked_for(folder: Path) -> None:
    words = ["train", "-q", "-m", "device=cpu", "epochs=1", "seed=1,2"]
    program = f"""
import sys
from ch12cli.cli.main import main
assert main({words!r}) == 0
names = {{name.partition(".")[0] for name in sys.modules}} | {{name for name in sys.modules if "engines" in name}}
print(sorted(names & {PACKAGES!r} | {{name for name in names if name.startswith("ch12cli.engines.")}}))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


KILLER = """
import os, signal, time, torch
class Network(torch.nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(torch.nn.Linear(inputs, outputs))
        # on a node it takes the process that follows its own along; not where an epoch is measured, before
        if torch.initial_seed() == 3 and "SLURM_ARRAY_TASK_ID" in os.environ:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
"""


@pytest.mark.slow
def test_a_job_that_kills_its_whole_process_is_found_and_the_others_are_trained(
    slurm: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ASK", 0.5)
    monkeypatch.setattr(bundles, "SETTLE", 0.5)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    (folder / "killer.py").write_text(KILLER)
    (folder / "mine/model").mkdir(parents=True)
    (folder / "mine/model/killer.yaml").write_text("_target_: killer.Network")
    launcher = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=1")
    line = ["train", "-q", "-m", "device=cpu", "epochs=2", "seed=range(6)", "hydra.sweep.dir=there"]
    words = ("--config-dir", "mine", "model=killer")
    assert main([*line, *words, *launcher]) == 3
    found = read_sweep_csv(Path("there", "sweep.csv"))
    assert {row.job: row.status for row in found} == {**dict.fromkeys(range(6), "finished"), 3: "failed"}
    assert "the process that trained it died" in str(found[3].error)
    assert sorted(models("there")) == ["0", "1", "2", "4", "5"]


def test_what_slurm_refuses_is_not_shown_as_submitted(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (slurm.parent / "bin/sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid account >&2; exit 1\n")
    assert train("hydra.sweep.dir=there", "hydra/launcher=slurm", "seed=1,2", "optimizer.lr=0.1") == 2
    assert "ch12: sbatch refused the sweep: sbatch: error: invalid account" in capsys.readouterr().err
    assert bundle_states(Path("there")) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo hello world", "sbatch did not print the number of a job, but: hello world"),
        ("echo 12 jobs", "sbatch did not print the number of a job, but: 12 jobs"),
        ("true", "sbatch did not print the number of a job, but: nothing"),
        (
            "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)' "
            ">&2; exit 1",
            "no Slurm controller answers: sbatch: error: Batch job submission failed: Unable to contact slurm",
        ),
        (
            "echo 'sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host' >&2; exit 1",
            "no Slurm controller answers: sbatch: error: resolve_ctls_from_dns_srv",
        ),
    ],
)
def test_a_slurm_that_gives_no_job_is_an_error_of_the_machine(
    script: str, message: str, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slurm.parent / "bin/sbatch").write_text(f"#!/bin/sh\necho call >> {slurm / 'calls'}\n{script}\n")
    assert train("hydra.sweep.dir=there", "hydra/launcher=slurm", "seed=1,2", "optimizer.lr=0.1") == 4
    assert f"ch12: {message}" in capsys.readouterr().err
    assert bundle_states(Path("there")) == []
    assert (slurm / "calls").read_text() == "call\n"  # submitted once


def test_the_number_of_a_job_of_a_federation_is_read_without_its_cluster(slurm: Path) -> None:
    (slurm.parent / "bin/sbatch").write_text("#!/bin/sh\necho '17;alpha'\n")
    assert Slurm().submit_array([["ch12"]], directory=Path("there"), first=0) == "17"


@pytest.mark.slow
def test_commands_of_a_recorded_launcher_need_trust(slurm: Path) -> None:
    setup = "hydra.launcher.setup=['touch hacked']"
    assert train("hydra.sweep.dir=there", "hydra/launcher=slurm", setup, "hydra.launcher.wait=false", "seed=1,2") == 0
    known = read_plan(Path("there"))
    with pytest.raises(InputError, match=r"hydra\.launcher\.setup says what is to be run.*--trust"):
        recorded_engine(known, where="there", trust=False)
    elsewhere = recorded_engine(known, where="there", trust=True).elsewhere
    assert elsewhere is not None
    assert elsewhere.processes == 16
