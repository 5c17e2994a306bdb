"""What `show`, `watch` and `resume` make of the tasks of a sweep that Slurm holds, has cancelled or has forgotten."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ch12cli.catalogue.entries import entry_at
from ch12cli.cli.main import main
from ch12cli.engines import bundles, remote
from ch12cli.files.cluster import tasks
from ch12cli.files.cluster.bundle_json import read_submissions
from ch12cli.files.sweep_csv import read_sweep_csv
from tests.engines.conftest import ROOT

pytestmark = pytest.mark.usefixtures("folder")

WORDS = ("train", "-m", "device=cpu", "epochs=2", "seed=range(4)", "hydra/launcher=slurm", "hydra.sweep.dir=sweep")
TWO_STACKS = ("sweep.max_stacked=2",)


def train(*words: str) -> int:
    return main([*WORDS, *words])


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, in one line. code: its exit code."""
    capsys.readouterr()
    assert main([*words]) == code
    return " ".join(capsys.readouterr().out.split())


def statuses() -> list[str]:
    return [row.status for row in read_sweep_csv(Path("sweep/sweep.csv"))]


def test_what_was_cancelled_before_it_began_is_stopped_and_resumed(
    slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slurm / "hold").touch()
    assert train("--detach", *TWO_STACKS) == 0
    assert "submitted 0 finished of 4 jobs" in (shown := told(capsys, "show", "sweep"))
    assert "2 tasks pending: 0 (Resources), 1 (Resources)" in shown
    subprocess.run(["scancel", "7"], check=True)
    shown = told(capsys, "watch", "sweep", code=4)
    assert "2 tasks stopped: 0 (CANCELLED), 1 (CANCELLED)" in shown
    assert shown.endswith("nothing trains it any more; ch12 resume sweep submits what is missing")
    assert entry_at(Path("sweep")).status == "killed"
    for file in slurm.glob("7_*"):
        file.unlink()  # Slurm forgets what has ended for five minutes
    assert "2 tasks stopped: 0 (no longer known to Slurm)" in told(capsys, "show", "sweep")
    (slurm / "hold").unlink()
    assert main(["resume", "-q", "sweep"]) == 0
    assert statuses() == ["finished"] * 4
    assert "task" not in told(capsys, "show", "sweep")


def test_a_task_that_slurm_holds_after_it_has_ended_is_not_stopped(
    slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--detach", "epochs=100000", "sweep.fused=false") == 0
    wait_for(lambda: "1 task running: 0 on" in told(capsys, "show", "sweep"))
    subprocess.run(["scancel", "7"], check=True)
    wait_for(lambda: "1 task stopped: 0 on" in told(capsys, "show", "sweep"))
    (slurm / "7_0").write_text("PENDING")  # by scontrol requeue
    assert re.search(r"1 task requeued: 0 on \S+ \([^)]*Resources\)", told(capsys, "show", "sweep"))
    assert entry_at(Path("sweep")).status == "submitted"


def test_where_slurm_cannot_be_asked_a_task_is_shown_as_recorded_and_said_to_be(
    slurm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SLURM", tasks.Scheduler())
    (slurm / "hold").touch()
    assert train("--detach") == 0
    subprocess.run(["scancel", "7"], check=True)
    scontrol = slurm.parent / "bin/scontrol"
    scontrol.write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    assert "1 task submitted: 0 (as recorded: Slurm does not answer)" in told(capsys, "show", "sweep")
    scontrol.unlink()
    monkeypatch.setattr("shutil.which", lambda _name: None)  # Slurm may be installed on the machine of the test
    assert "1 task submitted: 0 (as recorded: no scontrol here to ask)" in told(capsys, "show", "sweep")


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_cancelled_while_it_waits_is_not_submitted_again(
    slurm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ASK", 1.0)
    monkeypatch.setattr(bundles, "SETTLE", 0.2)
    (slurm / "hold").touch()

    def cancel() -> None:
        wait_for(lambda: read_submissions(Path("sweep")))
        time.sleep(1.5)  # until it was asked
        subprocess.run(["scancel", "7"], check=True)

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    assert train() == 4
    cancelling.join()
    printed = capsys.readouterr()
    assert "tasks: 1 pending (Resources)" in printed.out
    assert "4 jobs from job 0 on were not trained: tasks were cancelled before they began" in printed.err
    assert "continue with: ch12 resume sweep" in printed.err
    assert len(read_submissions(Path("sweep"))) == 1
    (slurm / "7_0").unlink()
    shown = told(capsys, "show", "sweep")
    assert "interrupted" in shown
    assert "1 task stopped: 0 " in shown


def test_a_sweep_that_slurm_refused_is_resumed_with_other_options_of_the_launcher(
    slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sbatch = slurm.parent / "bin/sbatch"
    text = sbatch.read_text()
    sbatch.write_text("#!/bin/sh\necho sbatch: error: invalid partition specified: cpu >&2; exit 1\n")
    assert train("hydra.launcher.partition=cpu") == 2
    refused = capsys.readouterr().err
    assert "invalid partition specified: cpu" in refused
    assert f"ch12 resume {Path.cwd()}/sweep hydra.launcher.KEY=VALUE" in refused
    sbatch.write_text(text)
    for override, rule in (
        ("optimizer.lr=1", "a sweep is resumed without changes, but for hydra.launcher.KEY=VALUE"),
        ("hydra.launcher.partitoin=low", "did you mean `partition`?"),
        ("hydra.launcher.timeout_min=0", "must be a whole number from 1"),
    ):
        assert main(["resume", "sweep", override]) == 2
        assert rule in capsys.readouterr().err
    line = [sys.executable, "-m", "ch12cli", "resume", "-q", "sweep", "hydra.launcher.partition=low"]
    subprocess.run(line, check=True)
    assert "--partition=low" in (slurm / "sbatch.txt").read_text()
    assert statuses() == ["finished"] * 4


def test_what_slurm_would_not_start_is_said_before_and_after_it_is_submitted(
    slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slurm / "hold").touch()
    reason = "allocation failure: Requested node configuration is not available"
    assert f"they would not start: {reason}" in told(capsys, *WORDS, "hydra.launcher.cpus_per_task=99", "--plan")
    assert "they would not start" not in told(capsys, *WORDS, "--plan")
    assert not (slurm / "sbatch.txt").exists()
    assert train("hydra.launcher.cpus_per_task=99", "--detach") == 0
    assert f"slurm took the tasks, but they may never start: {reason}" in " ".join(capsys.readouterr().err.split())


def test_the_command_that_collects_is_that_of_show(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (slurm / "hold").touch()
    data = Path.cwd().parent / f"{Path.cwd().name}.csv"
    data.write_text("a,b,y\n" + "1,2,3\n2,3,4\n3,1,2\n5,5,1\n" * 5)
    words = ("dataset=table", f"dataset.file={data}", "dataset.target=y")
    for directory, more in (("data", words), ("setup", ("hydra.launcher.setup=['true']",))):
        assert train("--detach", *more, f"hydra.sweep.dir={directory}") == 0
        assert f"ch12 resume {directory} --trust" in capsys.readouterr().out
        assert f"go on ch12 resume {directory} --trust" in told(capsys, "show", directory)


def test_the_setup_of_the_guide_works_as_it_is_written(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs/how-to/clusters.md").read_text()
    (example,) = re.findall(r"'hydra\.launcher\.setup=[^']*'", guide)
    home = Path.cwd() / "home"
    (home / "env/bin").mkdir(parents=True)
    (home / "env/bin/activate").write_text(f"export ACTIVATED=yes\necho $LOADED > {home}/seen\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BASH_FUNC_module%%", "() { export LOADED=$2; }")  # as clusters define it, for bash
    assert train(example.strip("'")) == 0
    assert (home / "seen").read_text() == "cuda\n"
    assert os.environ.get("ACTIVATED") is None
    assert statuses() == ["finished"] * 4
