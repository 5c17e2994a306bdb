"""`ch12 repro`: honest runs are the same, bit for bit; whatever was changed in them is noticed; nothing is written."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.training.checkpoint import Checkpoints, save_plain, sealed_bytes
from tests.conftest import Train

RUNS = {
    "plain": ["epochs=4", "batch_size=16"],
    "dropout, a schedule, clipping": [
        *("epochs=5", "batch_size=8", "model.dropout=0.3", "scheduler=one_cycle", "clip_grad_norm=0.1"),
        *("optimizer=adamw", "dataset=two_class", "dataset.shape=moons"),
    ],
    "stopped early": ["optimizer.lr=0.5", "batch_size=4", "epochs=60", "early_stopping.patience=2"],
    "worker processes": ["epochs=2", "batch_size=16", "workers=2"],
    "float64": ["epochs=3", "batch_size=16", "precision=float64", "optimizer=rmsprop"],
    "an optimiser of torch itself": ["epochs=3", "batch_size=16", "optimizer=adam", "+optimizer.maximize=false"],
    "values": ["experiment=book/linear_scratch", "epochs=20"],
    "diverged": ["dataset=toy_regression", "model=linear", "optimizer=sgd", "optimizer.lr=3", "epochs=30"],
}


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def repro(capsys: pytest.CaptureFixture[str], directory: Path | str, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["repro", "-q", str(directory), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def edit_checkpoints(directory: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Changes last.pt and seals it anew, as somebody would who knows how."""
    path = directory / "checkpoints" / "last.pt"
    state, _ = Checkpoints(path.parent, every=None).newest()
    edit(state)
    path.write_bytes(sealed_bytes(state))


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", RUNS)
def test_an_unchanged_run_is_reproduced_and_not_modified(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    outcome = train(*RUNS[name])
    assert outcome.status == ("diverged" if name == "diverged" else "finished")
    assert 0 < len(outcome.rows) < 250
    before = snapshot(folder)
    code, out, _ = repro(capsys, outcome.directory)
    epochs = f"{len(outcome.rows)} epoch{'' if len(outcome.rows) == 1 else 's'}"
    assert (code, out) == (0, f"{outcome.directory}: the same, bit for bit ({epochs})\n")
    assert snapshot(folder) == before


def test_a_run_with_another_seed_is_different(train: Train) -> None:
    """So that the comparison can fail."""
    first, second = (train(*RUNS["plain"], f"seed={seed}").model.state_dict() for seed in (1, 2))
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_an_extended_run_is_repeated_as_one_run(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["plain"], "model.dropout=0.2").directory
    assert main(["resume", "-q", str(directory), "epochs=7"]) == 0
    code, out, err = repro(capsys, directory)
    assert (code, out) == (0, f"{directory}: the same, bit for bit (7 epochs)\n")
    assert "was resumed after epoch 4 with epochs=7" in err


def test_a_moved_run_without_its_result_is_repeated_up_to_its_checkpoint(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train(*RUNS["plain"]).directory
    for name in ("result.json", "model.pt", "checkpoints/best.pt"):
        (directory / name).unlink()
    with open(directory / "metrics.csv", "a") as file:
        file.write("5,1.0,1.0,1.0,1.0,0.001,0.1\n")  # a row that a kill left behind
    directory.rename(folder / "moved")
    assert repro(capsys, "moved")[:2] == (0, "moved: the same, bit for bit (4 epochs)\n")


@pytest.mark.parametrize("dropout", ["0", "0.3"])
def test_a_run_of_a_stack_is_the_same_up_to_rounding(
    folder: Path, capsys: pytest.CaptureFixture[str], dropout: str
) -> None:
    words = ["-m", "epochs=5", "batch_size=8", f"model.dropout={dropout}", "seed=range(5)"]
    assert main(["train", "-q", *words, "hydra.sweep.dir=sweep"]) == 0
    for job in ("0", "3"):
        assert json.loads((folder / "sweep" / job / "result.json").read_text(encoding="utf-8"))["stacked"] >= 2
        code, out, _ = repro(capsys, f"sweep/{job}")
        assert code == 0
        assert "the same" in out
        assert "bit for bit" in out or "it was trained in a stack of" in out


def test_a_changed_run_of_a_stack_differs_by_more_than_rounding(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "epochs=5", "batch_size=8", "seed=range(5)", "hydra.sweep.dir=sweep"]
    assert main(["train", "-q", *words]) == 0

    def other_rate(state: dict[str, Any]) -> None:
        settings = json.loads(state["settings"])
        settings["optimizer"]["lr"] *= 1.01
        state["settings"] = json.dumps(settings)

    edit_checkpoints(folder / "sweep" / "1", other_rate)
    code, out, _ = repro(capsys, "sweep/1")
    assert code == 3
    assert "sweep/1: differs by more than rounding (5 epochs): weights by up to" in out


def test_the_first_different_epoch_is_named_with_both_values(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train(*RUNS["plain"])

    def other_row(state: dict[str, Any]) -> None:
        state["rows"][2, state["columns"].index("valid_loss")] = 0.125

    edit_checkpoints(outcome.directory, other_row)
    code, out, _ = repro(capsys, outcome.directory)
    now = outcome.rows[2]["valid_loss"]
    assert code == 3
    assert out.splitlines()[0] == f"{outcome.directory}: differs from epoch 3 on (valid_loss 0.125 then, {now!r} now)"
    assert "the environment is the same, as far as it was recorded" in out
    assert "metrics.csv does not hold the rows of the checkpoint" in out


def test_a_changed_setting_differs_from_the_first_epoch_on(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["plain"]).directory

    def other_seed(state: dict[str, Any]) -> None:
        state["settings"] = json.dumps(json.loads(state["settings"]) | {"seed": 2})

    edit_checkpoints(directory, other_seed)
    code, out, _ = repro(capsys, directory)
    assert code == 3
    assert "differs from epoch 1 on (train_loss" in out


def test_one_changed_bit_of_a_weight_is_found(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["plain"]).directory

    def one_bit(state: dict[str, Any]) -> None:
        state["network"]["0.bias"].view(torch.int32)[3] ^= 1

    edit_checkpoints(directory, one_bit)
    code, out, _ = repro(capsys, directory)
    assert code == 3
    assert "the metrics are the same, the weights differ (4 epochs): weights by up to" in out
    assert "model.pt does not hold the weights of the checkpoint" in out


def test_a_replaced_model_file_is_found(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory, other = train(*RUNS["plain"]).directory, train(*RUNS["plain"], "seed=2").directory
    save_plain(directory / "model.pt", torch.load(other / "model.pt"))
    code, out, _ = repro(capsys, directory)
    assert code == 3
    assert out.splitlines()[0] == f"{directory}: the same, bit for bit (4 epochs)"
    assert out.splitlines()[1:3] == [
        f"{directory}: model.pt is not what the run wrote",
        f"{directory}: model.pt does not hold the weights of the checkpoint",
    ]


VOUCHED = {
    "metrics.csv": "metrics.csv does not hold the rows of the checkpoint",
    "model.pt": "model.pt is not what the run wrote",
    "result.json": "result.json is damaged",
    "checkpoints/best.pt": "checkpoints/best.pt is not what the run wrote",
    ".hydra/config.yaml": ".hydra/config.yaml is not what the run wrote",
    ".hydra/overrides.yaml": ".hydra/overrides.yaml is not what the run wrote",
}


def test_a_file_that_was_changed_or_removed_is_named(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train("epochs=1", "batch_size=16").directory
    for name, said in VOUCHED.items():
        path = directory / name
        content = path.read_bytes()
        path.write_bytes(content[:-30] + b"#" + content[-29:])
        code, out, _ = repro(capsys, directory)
        assert code == 3
        assert said in out
        path.unlink()
        code, out, _ = repro(capsys, directory)
        assert code == (0 if name == "result.json" else 3)  # a run that was killed has none
        assert (f"{name} is missing" in out) == (name != "result.json")
        path.write_bytes(content)
    assert repro(capsys, directory)[0] == 0


def test_differences_in_the_environment_are_reported(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["plain"]).directory

    def elsewhere(state: dict[str, Any]) -> None:
        state["environment"] = json.dumps(json.loads(state["environment"]) | {"torch": "2.0.0", "machine": "arm64"})
        state["rows"][0, state["columns"].index("train_loss")] += 1e-9

    edit_checkpoints(directory, elsewhere)
    code, out, _ = repro(capsys, directory)
    assert code == 3
    assert "differs from epoch 1 on" in out
    assert f"torch 2.0.0 -> {version('torch')}; machine arm64 -> " in out


def test_an_older_checkpoint_is_used_if_the_newest_is_damaged(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["plain"], "checkpoint.every=1").directory
    (directory / "checkpoints" / "last.pt").write_bytes(b"")
    code, out, _ = repro(capsys, directory)
    assert code == 3  # a file of the run was changed, though what is left of it is repeated
    assert "the same, bit for bit (" in out
    assert "last.pt: damaged" in out


def test_repro_shows_its_progress_unless_quiet(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train(*RUNS["plain"])
    capsys.readouterr()
    assert main(["repro", str(outcome.directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("data  ")
    assert [line.split()[0] for line in lines if line.strip()[:1].isdigit()] == ["1", "2", "3", "4"]
    assert lines[-1].endswith("the same, bit for bit (4 epochs)")


def test_the_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repro", "--help"]) == 0
    page = capsys.readouterr().out
    assert "exit code 0  the same" in page
    assert "exit code 3  a different result" in page
