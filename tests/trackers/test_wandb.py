"""`logger=wandb`: its offline files, read as the messages of wandb itself, say what metrics.csv and result.json say."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ch12cli.cli.main import main
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.sweep_csv import read_sweep_csv

messages = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="needs wandb: pip install 'ch12[wandb]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # of wandb's own packages

WORDS = ["train", "-q", "device=cpu", "epochs=3"]
METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", "seconds")
BLOCK, HEADER = 32768, 7  # bytes of LevelDB's log format, in which wandb writes


class Recorded(NamedTuple):
    """A run as wandb wrote it. history: metrics by step."""

    id: str
    name: str
    group: str
    project: str
    config: dict[str, Any]
    history: dict[int, dict[str, float]]
    summary: dict[str, Any]
    exit_code: int | None


def records_in(file: Path) -> Iterator[Any]:
    """The messages in a file of wandb, each in one or more chunks: checksum, length, kind (1, 4: last), content."""
    content, place, parts = file.read_bytes(), HEADER, b""
    assert content[:4] == b":W&B"
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        parts += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):
            record = messages.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def values_of(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def recorded(folder: Path) -> list[Recorded]:
    """The runs in a folder's `wandb`, by name; the sessions of a run as one."""
    found: dict[str, Recorded] = {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for record in records_in(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                given = record.run
                fields = (
                    given.run_id,
                    given.display_name,
                    given.run_group,
                    given.project,
                    values_of(given.config.update),
                )
                run = found.setdefault(given.run_id, Recorded(*fields, {}, {}, None))
                run.config.update(values_of(given.config.update))
            elif kind == "history":
                run.history[record.history.step.num] = values_of(record.history.item)
            elif kind == "summary":
                run.summary.update(values_of(record.summary.update))
            elif kind == "exit":
                found[run.id] = run = run._replace(exit_code=record.exit.exit_code)
    return sorted(found.values(), key=lambda run: run.name)


def require_same(run: Recorded, directory: Path) -> None:
    rows = read_metrics(directory / "metrics.csv")
    assert list(run.history) == [int(row["epoch"]) for row in rows]
    for row in rows:
        logged = run.history[int(row["epoch"])]
        assert {name: logged[name] for name in METRICS if name in row} == {n: row[n] for n in METRICS if n in row}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
def test_a_run_and_its_resume_are_one_record_with_its_metrics(folder: Path) -> None:
    assert main([*WORDS, "logger=wandb", "hydra.run.dir=run", "optimizer.lr=0.02"]) == 0
    assert main(["resume", "run", "epochs=5", "-q", "--trust"]) == 0
    (run,) = recorded(folder / "run")
    assert (run.name, run.group, run.project, run.exit_code) == ("run", "", "ch12", 0)
    assert (run.config["optimizer.lr"], run.config["model"], run.config["epochs"]) == (0.02, "mlp", 5)
    require_same(run, folder / "run")
    result = json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))
    assert run.summary["test_accuracy"] == result["test"]["accuracy"]
    assert (run.summary["objective"], run.summary["status"]) == (result["objective"], "finished")


@pytest.mark.slow
def test_the_jobs_of_a_stacked_sweep_are_a_group(folder: Path) -> None:
    sweep = ["-m", "hydra.sweep.dir=sweep", "seed=1,2", "optimizer.lr=0.01,1e30", "optimizer=sgd"]
    assert main([*WORDS, "logger=wandb", *sweep]) == 0
    rows = read_sweep_csv(folder / "sweep" / "sweep.csv")
    runs = recorded(folder / "sweep")
    assert [run.name for run in runs] == [f"sweep/{row.job}" for row in rows]
    for run, row in zip(runs, rows, strict=True):
        assert run.group == "sweep"
        assert run.config["seed"] == int(row.overrides["seed"])
        assert (run.summary["status"], run.exit_code) == (row.status, 0 if row.status == "finished" else 1)
        require_same(run, folder / "sweep" / str(row.job))
