"""A sample of the signals that `make test-slow` sends in all ways: Ctrl-C, SIGTERM, one before training begins."""

import os
import signal
import time
from pathlib import Path

import pytest

from ch12cli.files.result_json import read_result
from ch12cli.training.checkpoint import load
from tests.promises.test_interruptions import ch12, session, trains, wait_for_rows

ENDS_WITHIN = 5.0  # seconds after a signal, on a machine that runs the other tests too


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_a_checkpoint_that_holds_every_row(number: int, code: int, folder: Path) -> None:
    directory = folder / "run"
    with ch12(*trains(directory, "checkpoint.every=auto")) as process:
        wait_for_rows(directory, 5, process)
        begun = time.monotonic()
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=30)
        assert session(process.pid) == []
    assert (process.returncode, b"Traceback" in errors) == (code, False)
    assert time.monotonic() - begun < ENDS_WITHIN
    result = read_result(directory / "result.json")
    assert result is not None
    rows = (directory / "metrics.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert result.status == "interrupted"
    assert result.epochs == len(rows) == load(directory / "checkpoints" / "last.pt")["epoch"]


def handles(process: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("delay", [0.0, 0.4, 0.8])
def test_a_sigterm_before_training_begins_ends_with_its_exit_code(delay: float, folder: Path) -> None:
    with ch12(*trains(folder / "run")) as process:
        deadline = time.monotonic() + 30
        while not handles(process.pid, signal.SIGTERM):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, b"Traceback" in errors) == (143, False), errors.decode()
