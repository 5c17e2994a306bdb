"""How the tests of durability kill runs: in forked children, which need no second import of torch."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ch12cli.errors import InputError
from ch12cli.run.start import train_single
from ch12cli.saved.resume import resume_run
from ch12cli.training.checkpoint import Checkpoints, fingerprint, load
from tests.conftest import Silent

# Everything that has state: dropout, shuffling, Adam's moments, a schedule, early stopping that watches and waits.
STATEFUL = (
    *("device=cpu", "threads=1", "batch_size=8", "model.dropout=0.2", "optimizer=adam", "scheduler=cosine"),
    *("early_stopping.patience=100", "dataset.valid_size=0.2", "checkpoint.every=1"),
)
TRAINED = ("epoch", "network", "best_network", "optimizer", "schedule", "best", "stopping", "source", "columns")


def start(directory: Path, *words: str) -> None:
    train_single([*STATEFUL, *words, f"hydra.run.dir={directory}"], callback=Silent(), log=False)


def resume(directory: Path, *words: str, **options: Any) -> Silent:
    """Resumes in this process; gives what was said."""
    callback = Silent()
    resume_run(directory, words, callback=callback, **options)
    return callback


def in_child(work: Callable[[], object]) -> int:
    """Number of a new process that does the work. Its exit code: 0, 2 if the input was refused, else 1."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        work()
        code = 0
    except InputError:
        code = 2
    finally:
        os._exit(code)


def kill_after(seconds: float, work: Callable[[], object]) -> None:
    """Does the work in a process that is killed after some time, if it has not ended by then."""
    child = in_child(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def exit_code(child: int) -> int:
    """Waits for a child. Its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trained(path: Path) -> str:
    """Digest of a checkpoint's weights, optimiser, random state and everything else that training goes on from."""
    state = Checkpoints(path.parent, every=None).with_rows(load(path))
    values = state["rows"][:, [column != "seconds" for column in state["columns"]]] if len(state["rows"]) else None
    return fingerprint({**{name: state[name] for name in TRAINED}, "rows": values})


def metrics(directory: Path) -> list[str]:
    """The lines of metrics.csv without their last column, the seconds."""
    lines = (directory / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].endswith(",seconds")
    return [line.rpartition(",")[0] for line in lines]


def outcome(directory: Path) -> dict[str, Any]:
    """What a finished run comes to, but for its times: equal for equal runs."""
    return {
        "last": trained(directory / "checkpoints" / "last.pt"),
        "best": fingerprint({name: load(directory / "checkpoints" / "best.pt")[name] for name in ("epoch", "network")}),
        "model": fingerprint(torch.load(directory / "model.pt")),
        "metrics": metrics(directory),
    }
