"""A job's directory is written whole, or the machine is said to have refused."""

import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ch12cli
from ch12cli.errors import MachineError
from ch12cli.files.compact.job_record import METRIC, JobRecord, SharedBase, StackFacts
from ch12cli.files.hydra_folder import PLAIN, to_yaml
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.run.recorder import metrics_csv, rows_state
from ch12cli.saved.job_files import write_directory
from tests.sweeps.driver import sweep
from tests.sweeps.killed import exit_code, in_child

BASE = SharedBase("hydra:\n  job:\n    num: 918273645\n", {"seed": 0}, {"seed": 0}, {})


def record(values: int, rows: NDArray[np.float64] | None = None) -> JobRecord:
    """A job that finished, with a network of so many values and two columns of metrics."""
    rows = np.array([[0.5, 0.1]]) if rows is None else rows  # (epochs, columns)
    stack = StackFacts(
        sweep="/sweep",
        bases=[BASE],
        metadata={None: {}},
        network=[("weight", (values,))],
        monitor="train_loss",
        parameters=values,
        stacked=2,
        history={},
        data={},
        environment={},
    )
    together = {"epochs": len(rows), "seconds": 1.0, "time": 1e9, "columns": ["train_loss", "lr"], "test": []}
    states = {"schedule": {}, "best": {"epoch": 1}, "stopping": {}, "stream": None}
    own = {"number": 0, "directory": "0", "overrides": ["seed=3"], "changes": {"seed": 3}, "dirname": "seed=3"}
    own |= {"base": 0, "fold": None, "status": "finished", "best_epoch": 1, **states}
    weights = np.zeros(values, np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "network": weights,
        "best_network": weights,
        "test": np.empty(0),
        "stream": np.zeros(9, np.uint8),
    }
    metrics = {f"{METRIC}{name}": rows[:, at] for at, name in enumerate(["train_loss", "lr"])}
    return JobRecord(stack, {**together, "optimizer": {}, "jobs": [own]}, own, {**arrays, **metrics})


def write(directory: Path, values: int) -> None:
    write_directory(directory, record(values))


def test_a_partly_written_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "0", 10_000)

    def on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the first write of more takes as much as fits
        with pytest.raises(MachineError, match=r"cannot write .*1: File too large"):
            write(tmp_path / "1", 10_000)

    assert exit_code(in_child(on_a_full_disk)) == 0
    assert not (tmp_path / "1").exists()


def test_yaml_written_without_the_library_equals_what_it_writes() -> None:
    """Those that look like numbers, dates, words for true or marks of YAML's are given to it."""
    draw = np.random.default_rng(3)
    words = [*"/=,.-#'~é", "true", "null", "1", "1e3", "2001-01-01", "a", "- ", ": ", "on"]
    texts = ["".join(draw.choice(words, size=draw.integers(1, 6))) for _ in range(9000)]
    plain = [text for text in texts if PLAIN.fullmatch(text)]
    assert 300 < len(plain) < 8000
    for text in plain:
        assert to_yaml([text]) == f"- {text}\n"
        assert to_yaml({"key": text}) == f"key: {text}\n"


def test_the_metrics_of_a_record_are_written_like_a_list_of_rows() -> None:
    found = record(1, np.array([[0.1 + 0.2, np.nan], [1e-300, -np.inf]]))
    rows = [{"epoch": 1, "train_loss": 0.1 + 0.2, "lr": np.nan}, {"epoch": 2, "train_loss": 1e-300, "lr": -np.inf}]
    assert found.texts()["metrics.csv"] == metrics_csv(rows)
    assert found.texts()["metrics.csv"].decode().splitlines()[1] == "1,0.30000000000000004,nan"
    np.testing.assert_array_equal(found.rows, rows_state(rows)["rows"])
    assert found.columns == rows_state(rows)["columns"]
    assert found.result.final == rows[1]
    assert type(found.result.final["epoch"]) is int


def test_each_row_of_metrics_is_that_of_the_single_run(folder: Path) -> None:
    """Compiled code trains several epochs at a time; the runs stop early in different epochs."""
    words = ("epochs=40", "early_stopping.patience=4", "optimizer.lr=0.02", "device=cpu")
    sweep(*words, "sweep.fused=true", "seed=1,2,3", into="sweep")
    lengths = set()
    for job, seed in enumerate((1, 2, 3)):
        single = ch12cli.train(*words, f"seed={seed}").metrics
        stacked = read_metrics(folder / "sweep" / str(job) / "metrics.csv")
        lengths.add(len(stacked))
        assert len(stacked) == len(single)
        for row, expected in zip(stacked, single, strict=True):
            assert row.keys() == expected.keys()
            for name in row.keys() - {"seconds"}:
                assert row[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), (job, row["epoch"], name)
    assert min(lengths) > 8  # more than one group of epochs
    assert len(lengths) > 1
