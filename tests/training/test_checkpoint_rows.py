"""The rows beside the checkpoints of a run: checkpoints of one size, whatever is killed or damaged."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ch12cli.files.metrics_csv import to_csv
from ch12cli.training.checkpoint import Checkpoints, load, save

COLUMNS = ["epoch", "train_loss", "lr"]


def rows_of(epochs: int, seed: int = 1) -> NDArray[np.float64]:
    found = np.random.default_rng(seed).normal(size=(epochs, 3))
    found[:, 0] = np.arange(1, epochs + 1)
    found[1::3, 1] = np.nan
    return found


def state_of(rows: NDArray[np.float64]) -> dict[str, Any]:
    columns = COLUMNS if len(rows) else []
    return {"epoch": len(rows), "columns": columns, "rows": torch.from_numpy(rows), "network": {"w": torch.ones(3)}}


@pytest.fixture
def written(tmp_path: Path) -> Checkpoints:
    """The checkpoints of a run after 0, 4, 5 and 9 epochs, with its metrics.csv."""
    (tmp_path / "checkpoints").mkdir()
    checkpoints = Checkpoints(tmp_path / "checkpoints", every=1)
    for epochs in (0, 4, 5, 9):
        checkpoints.write(state_of(rows_of(9)[:epochs]))
    (tmp_path / "metrics.csv").write_bytes(to_csv(COLUMNS, ([int(e), *rest] for e, *rest in rows_of(9).tolist())))
    return checkpoints


def newest(checkpoints: Checkpoints) -> Any:
    return Checkpoints(checkpoints.last.parent, every=1).newest()[0]["rows"]


def test_the_rows_of_a_checkpoint_are_read_back(written: Checkpoints) -> None:
    np.testing.assert_array_equal(newest(written), rows_of(9))
    written.last.unlink()
    np.testing.assert_array_equal(newest(written), rows_of(9)[:5])


def test_a_checkpoint_of_many_epochs_is_as_large_as_one_of_few(written: Checkpoints) -> None:
    before = written.last.stat().st_size
    written.write(state_of(np.concatenate([rows_of(9), rows_of(5000)[9:]])))
    assert abs(written.last.stat().st_size - before) < 100
    assert len(newest(written)) == 5000


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "short": lambda path: os.truncate(path, 100),
    "changed": lambda path: path.write_bytes(path.read_bytes().replace(b"1", b"2").replace(b"\0", b"\1")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["checkpoints/last.rows", "metrics.csv"])
def test_either_copy_of_the_rows_may_be_damaged(
    written: Checkpoints, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    damage(tmp_path / name)
    np.testing.assert_array_equal(newest(written), rows_of(9))
    for other in {"checkpoints/last.rows", "metrics.csv"} - {name}:
        damage(tmp_path / other)
    assert newest(written) is None


def test_a_session_that_goes_on_from_the_older_checkpoint_replaces_the_rows_after_it(written: Checkpoints) -> None:
    written.last.write_bytes(b"damaged")
    again = Checkpoints(written.last.parent, every=1)
    rows = np.concatenate([again.newest()[0]["rows"].numpy(), rows_of(7, seed=2)[5:]])
    again.write(state_of(rows[:5]))
    again.write(state_of(rows))
    np.testing.assert_array_equal(newest(written), rows)


def test_a_checkpoint_that_holds_its_rows_is_read(written: Checkpoints) -> None:
    """As format 2 and the runs of a stack have them."""
    save(written.last, state_of(rows_of(3)))
    np.testing.assert_array_equal(newest(written), rows_of(3))
    assert "rows_beside" not in load(written.last)
