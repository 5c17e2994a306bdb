"""A job's directory is written whole, or the machine is said to have refused."""

import resource
import signal
from pathlib import Path

import pytest
import torch

from ch12cli.errors import MachineError
from ch12cli.sweep.record import write_directory
from tests.sweep.killed import exit_code, in_child

ROWS = [{"epoch": 1, "train_loss": 0.5}]


def write(directory: Path, values: int) -> None:
    state = {"network": {"weight": torch.zeros(values)}}
    write_directory(directory, hydra={}, rows=ROWS, result={}, last=state, best=state, model=None, log="")


def test_a_file_of_which_the_disk_took_only_a_part_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "0", 10_000)

    def on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the first write of more takes as much as fits
        with pytest.raises(MachineError, match=r"cannot write .*1: File too large"):
            write(tmp_path / "1", 10_000)

    assert exit_code(in_child(on_a_full_disk)) == 0
    assert not (tmp_path / "1").exists()
