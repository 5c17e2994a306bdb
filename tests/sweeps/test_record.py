"""A job's directory is written whole, or the machine is said to have refused."""

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from ch12cli.errors import MachineError
from ch12cli.files.hydra_folder import PLAIN, to_yaml
from ch12cli.files.result_json import Result
from ch12cli.run.recorder import MetricsTable, metrics_csv, rows_state
from ch12cli.sweeps.job_directories import write_directory
from tests.sweeps.killed import exit_code, in_child

ROWS = [{"epoch": 1, "train_loss": 0.5}]


def write(directory: Path, values: int) -> None:
    state = {"network": {"weight": torch.zeros(values)}}
    write_directory(
        directory, hydra={}, rows=ROWS, result=Result(status="finished"), last=state, best=state, model=None, log=""
    )


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


def test_a_metrics_table_is_written_like_a_list_of_rows() -> None:
    values = np.array([[1, 0.1 + 0.2, np.nan], [2, 1e-300, -np.inf]])
    table = MetricsTable(["train_loss", "lr"], values)
    assert metrics_csv(table) == metrics_csv(list(table))
    assert metrics_csv(table).decode().splitlines()[1] == "1,0.30000000000000004,nan"
    assert (table[-1]["epoch"], type(table[-1]["epoch"])) == (2, int)
    assert table.state_dict()["columns"] == rows_state(list(table))["columns"]
    np.testing.assert_array_equal(table.state_dict()["rows"], rows_state(list(table))["rows"])
