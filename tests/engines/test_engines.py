"""Sweeps on an engine against the same sweeps in processes of this machine: the same networks, each recorded once."""

import os
import sys
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.cluster.bundle_json import read_submissions
from ch12cli.files.plan_json import read_plan
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.sweeps.resume import recorded_engine

WORDS = (
    "dataset=toy_regression",
    "epochs=3",
    "batch_size=5",
    "optimizer.lr=0.01,0.1",
    "seed=range(6)",
    "sweep.max_stacked=4",
)
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a fake Slurm keeps its state, with its commands in the path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "state").mkdir()
    for name in ("sbatch", "scontrol", "scancel"):
        program = tmp_path / "bin" / name
        program.write_text(f"#!{sys.executable}\n" + (ROOT / "tests/engines/fake_slurm.py").read_text())
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    return tmp_path / "state"


def train(*words: str) -> int:
    return main(["train", "-q", "-m", "device=cpu", *WORDS, *words])


def models(sweep: str) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in Path(sweep).glob("*/model.pt")}


def rows(sweep: str) -> list[tuple[int, str, float | None]]:
    return [(row.job, row.status, row.objective) for row in read_sweep_csv(Path(sweep, "sweep.csv"))]


def test_a_sweep_on_slurm_equals_the_local_one_and_is_collected_by_a_resume(slurm: Path) -> None:
    assert train("hydra.sweep.dir=here") == 0
    launcher = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=1", "hydra.launcher.wait=false")
    assert train("hydra.sweep.dir=there", *launcher, "hydra.launcher.partition=fast") == 0
    assert "--partition=fast" in (slurm / "sbatch.txt").read_text()
    assert main(["resume", "-q", "there"]) == 0
    assert len(read_submissions(Path("there"))) == 1  # the resume waited for what was submitted
    assert models("there") == models("here")
    assert len(models("here")) == 12
    assert rows("there") == rows("here")
    assert not list(Path("there/.ch12").glob("*.pt"))


@pytest.mark.slow
def test_a_sweep_on_an_executor_equals_the_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{os.environ.get('PYTHONPATH', '')}")
    assert train("hydra.sweep.dir=here") == 0
    executor = "hydra.launcher.executor={_target_: concurrent.futures.ThreadPoolExecutor, max_workers: 2}"
    assert train("hydra.sweep.dir=there", "hydra/launcher=executor", executor, "hydra.launcher.parallel=2") == 0
    assert models("there") == models("here")
    assert rows("there") == rows("here")


def test_without_slurm_nothing_is_left_behind(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert train("hydra/launcher=slurm", "hydra.sweep.dir=there") == 2
    assert "sbatch was not found" in capsys.readouterr().err
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_commands_of_a_recorded_launcher_need_trust(slurm: Path) -> None:
    setup = "hydra.launcher.setup=['touch hacked']"
    assert train("hydra.sweep.dir=there", "hydra/launcher=slurm", setup, "hydra.launcher.wait=false", "seed=1,2") == 0
    known = read_plan(Path("there"))
    with pytest.raises(InputError, match=r"hydra\.launcher\.setup says what is to be run.*--trust"):
        recorded_engine(known, where="there", trust=False)
    assert recorded_engine(known, where="there", trust=True).processes == 16
