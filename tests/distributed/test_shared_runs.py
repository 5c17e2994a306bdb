"""Runs that several processes train, against the same run in one process."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import METRICS, MODEL, RESULT
from ch12cli.run.train import Outcome
from ch12cli.saved.reproduce import reproduce
from ch12cli.saved.resume import resume_run
from ch12cli.training.checkpoint import load_plain
from tests.conftest import Silent, Train

ROUNDING = 1e-10  # of float64, after a hundred steps
NAMES = itertools.count()


def drawn(number: int) -> list[str]:
    """The overrides of a random run of about a hundred steps."""
    draw = random.Random(number)
    data = draw.choice(
        [
            ["dataset=iris", "loss=cross_entropy"],
            ["dataset=iris", "dataset.class_weight=[1,2,5]"],
            ["dataset=two_class", "dataset.size=90", "loss=bce"],
            ["dataset=two_class", "dataset.size=60", "loss=bce_logits", "dataset.class_weight=balanced"],
            ["dataset=toy_regression", "dataset.kind=curve", "dataset.size=70", "loss=huber"],
            ["dataset=toy_regression", "dataset.kind=line", "dataset.size=80", "dataset.target_scaling=standard"],
        ]
    )
    network = draw.choice([["model=linear"], ["model.width=7", f"model.dropout={draw.choice([0, 0.3])}"]])
    if network != ["model=linear"]:
        network += [f"model.depth={draw.choice([1, 2])}", f"activation={draw.choice(['relu', 'tanh', 'gelu'])}"]
    more = [
        f"optimizer={draw.choice(['sgd', 'adam', 'adamw', 'rmsprop', 'adagrad'])}",
        f"scheduler={draw.choice(['none', 'cosine', 'one_cycle', 'step', 'reduce_on_plateau'])}",
        f"batch_size={draw.choice([2, 5, 8, 11])}",
        f"seed={draw.randrange(1000)}",
        f"workers={draw.choice([0, 0, 1]) if number % 100 else 0}",
        f"clip_grad_norm={draw.choice(['null', 0.5])}",
        f"clip_grad_value={draw.choice(['null', 0.1])}",
        f"early_stopping.patience={draw.choice(['null', 2])}",
        f"dataset.valid_size={draw.choice([0, 0.2])}",
    ]
    return [*data, *network, *more, "precision=float64", "epochs=8", "optimizer.lr=0.01"]


def weights(outcome: Outcome) -> torch.Tensor:
    return torch.cat([value.detach().reshape(-1).double() for value in outcome.model.state_dict().values()])


def trained(train: Train, overrides: Sequence[str], *more: str) -> Outcome:
    return train(*overrides, *more, f"hydra.run.dir=run{next(NAMES)}")


def require_close(found: Outcome, expected: Outcome) -> None:
    assert found.status == expected.status
    assert float((weights(found) - weights(expected)).abs().max()) <= ROUNDING
    assert len(found.rows) == len(expected.rows)
    for row, other in zip(found.rows, expected.rows, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-7, abs=1e-9)
    assert (found.result.test or {}) == pytest.approx(expected.result.test or {}, rel=1e-7, abs=1e-9)


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", range(40))
def test_several_processes_train_what_one_trains_up_to_rounding(train: Train, number: int) -> None:
    single = trained(train, drawn(number))
    devices = 2 if number == 0 else 1 + number % 4
    require_close(trained(train, drawn(number), f"devices={devices}"), single)


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", range(15))
def test_shards_have_the_same_bits_for_every_number_of_processes(train: Train, number: int) -> None:
    precision = ["float64", "float32", "bfloat16"][number % 3]
    overrides = [*drawn(100 + number), "shards=4" if number % 2 else "shards=6", f"precision={precision}"]
    alone = trained(train, overrides)
    if precision == "float64":
        require_close(alone, trained(train, drawn(100 + number)))
    for devices in (2,) if number == 0 else (2, 4) if number % 2 else (2, 3, 6):
        several = trained(train, overrides, f"devices={devices}")
        assert torch.equal(weights(several), weights(alone))
        assert [{**row, "seconds": 0} for row in several.rows] == [{**row, "seconds": 0} for row in alone.rows]
        assert several.result.test == alone.result.test


@pytest.mark.slow
def test_images_and_convolutions_are_shared_out(train: Train) -> None:
    overrides = ["dataset=image_folder", "model=cnn", "epochs=2", "batch_size=16", "precision=float64"]
    require_close(trained(train, overrides, "devices=2"), trained(train, overrides))


@pytest.mark.slow
def test_a_run_that_diverges_diverges_in_the_same_step(train: Train) -> None:
    overrides = ["dataset=toy_regression", "optimizer=sgd", "optimizer.lr=1e6", "epochs=5"]
    found, expected = trained(train, overrides, "devices=3"), trained(train, overrides)
    assert found.status == expected.status == "diverged"
    assert found.result.diverged_step == expected.result.diverged_step


@pytest.mark.slow
def test_a_run_of_two_processes_is_resumed_by_three(train: Train, silent: Silent) -> None:
    overrides = ["precision=float64", "batch_size=9", "model.dropout=0.2"]
    whole = trained(train, overrides, "epochs=12")
    half = trained(train, overrides, "epochs=6", "devices=2")
    resumed = resume_run(half.directory, ["epochs=12", "devices=3"], callback=silent)
    assert resumed is not None
    require_close(resumed, whole)


@pytest.mark.slow
def test_a_shared_run_is_reproduced_by_one_process(train: Train, silent: Silent) -> None:
    exact = trained(train, ["epochs=4", "batch_size=8", "shards=2", "devices=2"])
    assert reproduce(exact.directory, callback=silent).same
    rounded = reproduce(trained(train, ["epochs=4", "batch_size=8", "devices=3"]).directory, callback=silent)
    assert rounded.agrees


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", *words, "device=cpu", "batch_size=8", "-q", "hydra.run.dir=run"]


def started(*words: str, epochs: int = 100_000) -> "subprocess.Popen[str]":
    """A run that has trained some epochs."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command(*words), f"epochs={epochs}"], stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 120
    while len(read_metrics(Path("run", METRICS))) < 3 if Path("run", METRICS).exists() else True:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


def children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout
    return list(map(int, found.split()))


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def require_all_gone(processes: Sequence[int]) -> None:
    deadline = time.monotonic() + 30
    while not all(map(is_gone, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def require_resumable() -> None:
    """The run goes on from a checkpoint of its last epochs."""
    done = len(read_metrics(Path("run", METRICS)))
    assert main(["resume", "-q", "run", f"epochs={done + 1}"]) == 0
    assert len(read_metrics(Path("run", METRICS))) == done + 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_all_processes_after_a_checkpoint(folder: Path, number: int, code: int) -> None:
    process = started("ch12cli", "train", "devices=3")
    others = children(process.pid)
    assert len(others) == 2
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    require_all_gone(others)
    result = read_result(folder / "run" / RESULT)
    assert result is not None
    assert result.status == "interrupted"
    require_resumable()


@pytest.mark.slow
def test_the_death_of_a_process_ends_the_run_after_a_checkpoint(folder: Path) -> None:
    process = started("ch12cli", "train", "devices=3")
    others = children(process.pid)
    os.kill(others[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert errors.startswith("ch12: devices=3: process 1 died (signal 9); ")
    assert len(errors.splitlines()) == 1
    require_all_gone(others)
    require_resumable()


@pytest.mark.slow
def test_no_process_outlives_the_one_that_leads(folder: Path) -> None:
    process = started("ch12cli", "train", "devices=3")
    others = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    require_all_gone(others)
    require_resumable()


TORCHRUN = ("torch.distributed.run", "--nproc-per-node=2", "-m", "ch12cli")


@pytest.mark.slow
def test_torchrun_trains_what_devices_trains(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*command(*TORCHRUN, "train"), "epochs=3"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{folder / 'run'}\n"
    assert main(["train", "-q", "device=cpu", "batch_size=8", "devices=2", "epochs=3", "hydra.run.dir=other"]) == 0
    found, expected = load_plain(folder / "run" / MODEL), load_plain(folder / "other" / MODEL)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.slow
def test_a_sweep_under_torchrun_is_refused_once(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-m", *TORCHRUN, "train", "-m", "seed=1,2"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("ch12: ")]
    rule = "a sweep starts processes of its own; leave torchrun out: ch12 train -m seed=1,2"
    assert said == [f"ch12: torchrun: {rule}"]
    assert done.returncode == 1  # torchrun's own


@pytest.mark.slow
def test_sigterm_to_torchrun_ends_all_processes_after_a_checkpoint(folder: Path) -> None:
    process = started(*TORCHRUN, "train")
    others = children(process.pid)
    process.terminate()
    process.communicate(timeout=60)
    require_all_gone(others)
    result = read_result(folder / "run" / RESULT)
    assert result is not None
    assert result.status == "interrupted"
    require_resumable()
