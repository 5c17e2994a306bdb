"""Runs that were trained in several sittings: forked, extended, killed and resumed. What they are stays known."""

import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ch12cli.cli.main import main
from ch12cli.files.result_json import Result, read_result
from ch12cli.training.checkpoint import Checkpoints, DamagedError, load, save
from tests.sweeps.killed import STATEFUL, exit_code, in_child, metrics, outcome, resume, start

PLAIN = ("device=cpu", "threads=1", "batch_size=16")


def run(*words: str) -> int:
    return main(list(words))


def result_of(directory: Path | str) -> Result:
    result = read_result(Path(directory) / "result.json")
    assert result is not None
    return result


def kill_in(directory: Path, epoch: int, work: Callable[[], object]) -> int:
    """Does the work in a process that is killed when a run has come so far. The epoch of its newest checkpoint."""
    child = in_child(work)
    deadline = time.monotonic() + 60
    while newest(directory) < epoch:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    return newest(directory)


def newest(directory: Path) -> int:
    try:
        return int(Checkpoints(directory / "checkpoints", every=None).newest()[0]["epoch"])
    except DamagedError:
        return -1


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def of(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return of


@pytest.mark.slow
def test_a_killed_and_resumed_fork_equals_the_uninterrupted_fork_and_records_its_parent(folder: Path) -> None:
    start(folder / "p", "epochs=4")
    resume(folder / "p", "optimizer.lr=0.01", "epochs=200", fork=True)
    (folder / "p-fork").rename(folder / "whole")
    fork = folder / "p-fork"
    epoch = kill_in(fork, 10, lambda: resume(folder / "p", "optimizer.lr=0.01", "epochs=200", fork=True))
    assert not (fork / "result.json").exists()
    assert epoch < 200
    resume(folder / "p-fork")
    result = result_of("p-fork")
    assert result.history["parent"]["directory"] == str(folder / "p")
    assert result.history["parent"]["changes"] == {"optimizer.lr": 0.01, "epochs": 200}
    assert result.history["parent"]["before"] == {"optimizer.lr": 0.001, "epochs": 4}
    assert [one["epoch"] for one in result.history["resumed"]] == [epoch]
    assert outcome(folder / "p-fork") == outcome(folder / "whole")


@pytest.mark.slow
def test_a_run_killed_several_times_records_all_its_sessions(folder: Path) -> None:
    epochs = [kill_in(folder / "run", 3, lambda: start(folder / "run", "epochs=100000"))]
    for _ in range(2):
        epochs.append(kill_in(folder / "run", epochs[-1] + 1, lambda: resume(folder / "run")))
    assert not (folder / "run" / "result.json").exists()
    resume(folder / "run", f"epochs={epochs[2] + 1}")
    assert [one["epoch"] for one in result_of("run").history["resumed"]] == epochs


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "sittings",
    [
        [("epochs=9",)],
        [("optimizer.lr=0.02", "epochs=9", "--fork")],
        [("epochs=7",), ("model.dropout=0.5", "--fork", "epochs=8"), (), ("batch_size=8", "epochs=9", "--fork")],
    ],
    ids=["extended", "forked", "both, again and again"],
)
def test_a_run_of_several_sessions_is_repeated_in_the_same_sessions(
    sittings: list[tuple[str, ...]], folder: Path, said: Any
) -> None:
    start(folder / "run", "epochs=5")
    directory = "run"
    for words in sittings:
        assert run("resume", "-q", directory, *words) == 0
        directory += "-fork" * ("--fork" in words)
    code, out, err = said("repro", "-q", directory)
    epochs = result_of(directory).epochs
    assert (code, out) == (0, f"{directory}: the same, bit for bit ({epochs} epochs)\n")
    assert len(err.splitlines()) == len([words for words in sittings if words])
    assert err.count("continues from ") == sum("--fork" in words for words in sittings)


def test_a_changed_run_without_its_earlier_settings_is_not_called_different(folder: Path, said: Any) -> None:
    start(folder / "run", "epochs=4")
    assert run("resume", "-q", "run", "optimizer.lr=0.01", "epochs=6", "--fork") == 0
    path = folder / "run-fork" / "checkpoints" / "last.pt"
    state = load(path)
    history = json.loads(state["history"])
    del history["parent"]["before"]
    save(path, {**state, "history": json.dumps(history)})
    code, out, err = said("repro", "-q", "run-fork")
    assert (code, out) == (2, "")
    assert "was trained in several sessions with changes, and its record does not say from what" in err


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "before",
    [
        {"optimizer.lr": -1},
        {"optimizer._target_": "os.system"},
        {"model.width": 10**9},
        {"epochs": "x"},
        {"optimizer.lr": {"_target_": "os.system"}},
    ],
    ids=lambda value: next(iter(value)),
)
def test_settings_of_an_earlier_session_are_checked_like_all_others(
    before: dict[str, Any], folder: Path, said: Any
) -> None:
    start(folder / "run", "epochs=2")
    path = folder / "run" / "checkpoints" / "last.pt"
    history = {"parent": {"directory": "x", "epoch": 1, "changes": dict.fromkeys(before, 1), "before": before}}
    save(path, {**load(path), "history": json.dumps(history)})
    code, out, err = said("repro", "-q", "run")
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_history_of_a_wrong_form_is_ignored(folder: Path, said: Any) -> None:
    start(folder / "run", "epochs=2")
    path = folder / "run" / "checkpoints" / "last.pt"
    state = load(path)
    for history in ("", "[]", "[" * 9999, '{"parent": 7, "resumed": [1, "x"]}', 7, '{"resumed": {"a": 1}}'):
        save(path, {**state, "history": history})
        assert said("repro", "-q", "run")[0] == 0
        assert "Traceback" not in said("show", "run")[2]
    assert run("resume", "-q", "run", "epochs=3") == 0
    assert [one["epoch"] for one in result_of("run").history["resumed"]] == [2]


def test_a_fork_has_its_own_record(folder: Path, said: Any) -> None:
    assert run("train", "-q", *PLAIN, "epochs=4", "optimizer.lr=0.002", "seed=3", "hydra.run.dir=run") == 0
    assert run("resume", "-q", "run", "optimizer.lr=0.01", "epochs=6", "--fork") == 0
    hydra = folder / "run-fork" / ".hydra"
    config, more, overrides = (
        yaml.safe_load((hydra / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("config", "hydra", "overrides")
    )
    assert (config["optimizer"]["lr"], config["epochs"], config["seed"]) == (0.01, 6, 3)
    assert overrides == [*PLAIN, "seed=3", "optimizer.lr=0.01", "epochs=6"]
    assert more["hydra"]["overrides"]["task"] == overrides
    assert more["hydra"]["runtime"]["choices"]["dataset"] == "iris"
    _, shown, _ = said("show", "run-fork")
    shown = " ".join(shown.split())
    assert f"repeat ch12 resume {folder / 'run'} optimizer.lr=0.01 epochs=6 --fork" in shown
    assert f"continues from {folder / 'run'} after epoch 4 with optimizer.lr=0.01" in shown
    assert "run-fork" in said("runs", ".", "--filter", "optimizer.lr>0.005")[1]
    _, parent, _ = said("show", "run")
    assert "repeat ch12 train device=cpu threads=1 batch_size=16 epochs=4" in " ".join(parent.split())


def test_a_fork_of_a_sweeps_job_has_the_directory_that_is_named(folder: Path, said: Any) -> None:
    assert run("train", "-q", "-m", *PLAIN, "epochs=2", "seed=1,2", "hydra.sweep.dir=sweep") == 0
    before = (folder / "sweep" / "sweep.csv").read_bytes()
    assert run("resume", "-q", "sweep/1", "--fork", "hydra.run.dir=my runs/fork", "epochs=3") == 0
    assert result_of("my runs/fork").epochs == 3
    assert yaml.safe_load((folder / "my runs/fork/.hydra/overrides.yaml").read_text()) == [*PLAIN, "seed=2", "epochs=3"]
    assert (folder / "sweep" / "sweep.csv").read_bytes() == before
    for words, reason in (
        (["--fork", "hydra.run.dir=my runs/fork"], "holds a run already"),
        (["--fork", "hydra.run.dir=sweep/x"], "lies in the sweep"),
        (["--fork", "hydra.run.dir="], "must name a directory"),
        (["hydra.run.dir=other"], "add --fork"),
        (["hydra.job.name=x"], "leave it out"),
    ):
        code, _, error = said("resume", "-q", "sweep/1", *words, "epochs=4")
        assert (code, reason in error) == (2, True), error
    assert run("resume", "-q", "sweep/1", "epochs=3") == 0  # asks nothing
    assert result_of("sweep/1").epochs == 3
    assert not (folder / "other").exists()


@pytest.mark.slow
def test_advice_to_go_on_names_trust_where_it_is_needed(folder: Path, said: Any) -> None:
    (folder / "elsewhere").mkdir()
    table = folder / "elsewhere" / "t.csv"
    table.write_text("x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    for where, trust in ((table, " --trust"), (table.relative_to(folder), "")):
        data = ("dataset=csv", f"dataset.file={where}", "dataset.target_type=classes", "epochs=2")
        name = f"r{len(trust)}"
        assert run("train", "-q", *PLAIN, *data, f"hydra.run.dir={name}") == 0
        assert run("report", name, "-o", "r.html") == 0
        for command in (f"ch12 eval {name}{trust}", f"ch12 repro {name}{trust}"):
            assert f"<pre>{command}</pre>" in (folder / "r.html").read_text()
            assert run(*command.split()[1:]) == 0
        (folder / name / "result.json").unlink()
        sweep = f"s{len(trust)}"
        assert run("train", "-q", "-m", *PLAIN, *data, "seed=1,2", f"hydra.sweep.dir={sweep}") == 0
        shutil.rmtree(folder / sweep / "1")
        (folder / sweep / "sweep.csv").unlink()
        for stopped in (name, sweep):
            line = next(line for line in said("show", stopped)[1].splitlines() if line.startswith("go on"))
            assert line.split(maxsplit=2)[2] == f"ch12 resume {stopped}{trust}"
            assert run(*line.split()[3:], "-q") == 0


def test_an_extended_run_shows_its_settings_and_both_commands(folder: Path, said: Any) -> None:
    assert run("train", "-q", *PLAIN, "epochs=4", "hydra.run.dir=run") == 0
    assert run("resume", "-q", "run", "epochs=6") == 0
    assert yaml.safe_load((folder / "run" / ".hydra" / "config.yaml").read_text(encoding="utf-8"))["epochs"] == 6
    _, shown, _ = said("show", "run")
    assert "repeat ch12 train device=cpu threads=1 batch_size=16 epochs=4" in " ".join(shown.split())
    assert "then ch12 resume run epochs=6" in " ".join(shown.split())
    assert "was resumed after epoch 4 with epochs=6" in shown
    assert said("repro", "-q", "run")[0] == 0


def command_in(text: str) -> list[str]:
    """The command that a message tells to type."""
    return shlex.split(text[text.rindex(": ch12 ") + 2 :])[1:]


def test_a_run_that_stopped_early_says_how_to_continue(folder: Path, said: Any) -> None:
    words = ("epochs=60", "early_stopping.patience=2", "early_stopping.min_delta=0.2")
    start(folder / "es", *words)
    stopped = result_of("es").stopped_at
    code, out, err = said("resume", "es")
    assert (code, err) == (0, "")
    assert f"stopped early in epoch {stopped}" in " ".join(out.split())
    code, out, err = said("resume", "es", f"epochs={stopped + 3}")
    assert (code, out) == (2, "")
    assert "is complete" not in err
    assert run(*command_in(err), "-q") == 0
    assert len(metrics(folder / "es-fork")) == stopped + 3 + 1
    code, _, err = said("resume", "es", "--fork")  # which would stop at once
    assert code == 2
    assert "early_stopping.patience=null" in err


def test_a_run_that_diverged_says_how_to_continue(folder: Path, said: Any) -> None:
    words = ("dataset=toy_regression", "model=linear", "optimizer=sgd", "optimizer.lr=3", "epochs=60", *PLAIN)
    assert run("train", "-q", *words, "hydra.run.dir=run") == 5
    epoch = result_of("run").diverged_at
    code, _, err = said("resume", "run", "epochs=100")
    assert code == 2
    assert f"diverged in epoch {epoch}, " in err
    assert run(*command_in(err), "-q") == 0


def test_a_resume_says_after_which_epoch_it_continues(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "epochs=2", "device=cpu", "hydra.run.dir=r", "-q"]) == 0
    for words in (["epochs=3"], ["epochs=5", "--fork"]):
        capsys.readouterr()
        assert main(["resume", "r", *words]) == 0
        assert f"continues after epoch {len(words) + 1} of {words[0][-1]}\n" in capsys.readouterr().out


def test_a_resumed_run_gives_its_notes_once_and_continues_its_log(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"${row % 7},{'ab'[row % 2]}" for row in range(40)]
    Path("t.csv").write_text("\n".join(["x,y", *rows]), encoding="utf-8")
    words = ["dataset=csv", "dataset.file=t.csv", "device=cpu", "hydra.run.dir=r", "-q"]
    assert main(["train", "epochs=1", *words]) == 0
    assert "is read as" in capsys.readouterr().err
    assert main(["resume", "r", "epochs=2", "-q"]) == 0
    assert capsys.readouterr().err == ""
    log = Path("r/train.log").read_text(encoding="utf-8")
    assert [log.count(f"finished after {epochs} epochs") for epochs in (1, 2)] == [1, 1]
    assert log.count("is read as") == 1


def test_a_choice_cannot_change_in_a_resume(folder: Path, said: Any) -> None:
    start(folder / "run", "epochs=2")
    for more in ([], ["--fork"]):
        code, _, err = said("resume", "run", "model=linear", *more)
        assert code == 2
        assert "model=linear: the run has model=mlp, and a choice cannot change in a resume" in err


def test_a_run_whose_schedule_was_extended_cannot_be_exported_as_one_program(folder: Path, said: Any) -> None:
    start(folder / "run", "epochs=3")
    resume(folder / "run", "epochs=5")
    code, _, err = said("export", "run", "-o", "run.py")
    assert code == 2
    assert "its schedule was extended in a resume" in err


def test_the_stateful_words_of_these_tests_have_a_schedule_that_depends_on_the_epochs() -> None:
    """So that an extended run is another than one that was meant so long from the first."""
    assert "scheduler=cosine" in STATEFUL
