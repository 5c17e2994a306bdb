"""`ch12 runs`, and the names by which it and the other commands find a run."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ch12cli
from ch12cli.catalogue.entries import entries, entry_at, job_entries
from ch12cli.catalogue.names import find_run_directory
from ch12cli.cli.main import main
from ch12cli.cli.text.run_table import format_runs
from ch12cli.errors import InputError
from ch12cli.files.locks import is_locked, is_locked_by_trying, locked
from ch12cli.files.plan_json import read_plan, write_plan_json
from ch12cli.plots.recorded import SweepChoice, sweep_plot
from ch12cli.training.checkpoint import load, sealed_bytes

Answer = Callable[..., str]
DAY = Path("outputs/2026-05-17")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs and a sweep of three jobs, begun in this order a minute apart."""
    folder = tmp_path_factory.mktemp("listed")
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = ["train", "device=cpu", "-q", "epochs=2"]
        assert main([*words, f"hydra.run.dir={DAY}/10-00-00-iris-mlp", "optimizer.lr=0.01"]) == 0
        assert main([*words, f"hydra.run.dir={DAY}/10-01-00-iris-mlp", "optimizer=sgd", "optimizer.lr=0.05"]) == 0
        assert main([*words, f"hydra.sweep.dir={DAY}/10-02-00-sweep", "-m", "seed=1,2,3"]) == 0
        assert main([*words, f"hydra.run.dir={DAY}/10-03-00-bad", "optimizer=sgd", "optimizer.lr=1e30"]) == 5
    finally:
        os.chdir(before)
    for minute, name in enumerate(("10-00-00-iris-mlp", "10-01-00-iris-mlp", "10-02-00-sweep", "10-03-00-bad")):
        when, plan = 1.8e9 + 60 * minute, read_plan(folder / DAY / name)
        if plan.jobs:
            write_plan_json(folder / DAY / name, replace(plan, began=when))
        else:
            os.utime(folder / DAY / name / ".hydra", (when, when))
    return folder


@pytest.fixture
def listed(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to do something to, in the current directory."""
    shutil.copytree(outputs / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / DAY


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str], listed: Path) -> Answer:
    def of(*words: str) -> str:
        assert main(["runs", *words]) == 0
        return capsys.readouterr().out

    return of


def names(text: str) -> list[str]:
    return [Path(row["path"]).name for row in json.loads(text)]


def test_everything_is_listed_newest_first(answer: Answer) -> None:
    lines = answer().splitlines()
    assert lines[0].split() == ["when", "run", "status", "epochs", "objective", "test", "time"]
    assert [Path(line.split()[2]).name for line in lines[1:]] == [
        *("10-03-00-bad", "10-02-00-sweep", "10-01-00-iris-mlp", "10-00-00-iris-mlp")
    ]
    assert [line.split()[3] for line in lines[1:]] == ["diverged", "finished", "finished", "finished"]
    assert "3 jobs" in lines[2]


def test_one_of_anything_is_not_said_in_the_plural(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-q", "-m", "epochs=2", "seed=1", f"hydra.sweep.dir={DAY}/one"]) == 0
    capsys.readouterr()
    said = []
    for words in (["runs"], ["show", "@1"], ["runs", "--limit", "0"], ["runs", "--filter", "seed=7"], ["show", "@9"]):
        main(words)
        said += [*capsys.readouterr()]
    text = "\n".join(said)
    assert "1 job " in text
    assert "--limit 0: the only run in outputs/ is not shown" in text
    assert "the only run in outputs/ does not match --filter 'seed=7'" in text
    assert "there is 1 run or sweep below outputs/" in text
    assert not re.search(r"\b1 (jobs|runs|epochs)\b", text)


def test_listed_results_are_those_of_the_runs(answer: Answer, listed: Path) -> None:
    [row] = csv.DictReader(io.StringIO(answer("--filter", "path~10-00", "--format", "csv")))
    result = json.loads((listed / "10-00-00-iris-mlp" / "result.json").read_text(encoding="utf-8"))
    assert float(row["objective"]) == result["objective"]
    assert float(row["test_accuracy"]) == result["test"]["accuracy"]
    assert float(row["valid_loss"]) == result["final"]["valid_loss"]


def test_filters_sorting_and_limits(answer: Answer) -> None:
    assert names(answer("--filter", "optimizer.lr>0.01 and status=finished", "--format", "json")) == [
        "10-01-00-iris-mlp"
    ]
    assert names(answer("--filter", "optimizer=adam", "--format", "json")) == ["10-00-00-iris-mlp"]
    assert names(answer("--filter", "epochs=2", "--sort", "optimizer.lr", "--format", "json")) == [
        *("10-00-00-iris-mlp", "10-01-00-iris-mlp")
    ]
    assert names(answer("--limit", "1", "--reverse", "--format", "json")) == ["10-00-00-iris-mlp"]
    assert answer("--filter", "seed=3") == (
        "none of the 4 runs in outputs/ matches --filter 'seed=3'; to filter the jobs of a sweep: "
        f"`ch12 runs {DAY}/10-02-00-sweep --filter …`\n"
    )
    assert answer("--filter", "epochs=77") == "none of the 4 runs in outputs/ matches --filter 'epochs=77'\n"
    assert answer("--filter", "tags~good").startswith("none of the 4 runs")  # though no run has a tag yet


def test_a_choice_that_is_not_made_is_null_as_a_key_that_is_not_set(answer: Answer, listed: Path) -> None:
    words = ["train", "-q", "device=cpu", "epochs=1", f"hydra.run.dir={DAY}/10-04-00-fast", "experiment=debug/fast"]
    assert main(words) == 0
    answer()  # the folder of the run just trained is printed before
    wanted = {"null": ["10-03-00-bad", "10-01-00-iris-mlp", "10-00-00-iris-mlp"], "debug/fast": ["10-04-00-fast"]}
    for value, runs in wanted.items():
        text = answer("--filter", f"experiment={value} and epochs>=0", "--format", "json")
        assert names(text) == runs
        assert {row["experiment"] for row in json.loads(text)} == {None if value == "null" else value}
        rows = list(csv.DictReader(io.StringIO(answer("--filter", f"experiment={value}", "--format", "csv"))))
        assert {(row["experiment"], row["early_stopping.patience"]) for row in rows} == {
            ("" if value == "null" else value, "")
        }
    assert names(answer("--filter", "experiment!=null", "--format", "json")) == ["10-04-00-fast"]


def test_the_jobs_of_a_sweep_are_listed_from_its_table(answer: Answer, listed: Path) -> None:
    rows = json.loads(answer("10-02-00-sweep", "--sort", "seed", "--format", "json"))
    assert [(row["seed"], row["status"], row["epochs"]) for row in rows] == [(s, "finished", 2) for s in (1, 2, 3)]
    result = json.loads((listed / "10-02-00-sweep" / "1" / "result.json").read_text(encoding="utf-8"))
    assert rows[1]["objective"] == result["objective"]
    assert {row["when"] for row in rows} == {1.8e9 + 120}  # that of the sweep
    assert {type(row[name]) for row in rows for name in ("seed", "epochs", "best_epoch", "parameters")} == {int}
    assert {row["monitor"] for row in rows} == {"valid_loss"}
    assert "valid loss" in answer("10-02-00-sweep")
    [head, *lines] = csv.reader(io.StringIO(answer("10-02-00-sweep", "--format", "csv")))
    assert [line[head.index("seed")] for line in lines] == ["3", "2", "1"]


def test_jobs_of_a_killed_sweep_that_its_table_lacks_are_found(answer: Answer, listed: Path) -> None:
    sweep = listed / "10-02-00-sweep"
    whole = {row["path"]: row for row in json.loads(answer("10-02-00-sweep", "--format", "json"))}
    lines = (sweep / "sweep.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    for kept in (2, 1, 0):  # lines: a row, the header alone, nothing
        (sweep / "sweep.csv").write_text("".join(lines[:kept]), encoding="utf-8")
        rows = {row["path"]: row for row in json.loads(answer("10-02-00-sweep", "--format", "json"))}
        assert {path: dict(sorted(row.items())) for path, row in rows.items()} == {
            path: dict(sorted(row.items())) for path, row in whole.items()
        }
    (sweep / "sweep.csv").unlink()
    assert len(json.loads(answer("10-02-00-sweep", "--format", "json"))) == 3
    assert find_run_directory("10-02-00-sweep/1").resolve() == (sweep / "1").resolve()
    shutil.rmtree(sweep / "2")
    (row,) = [row for row in json.loads(answer("--format", "json")) if row["kind"] == "sweep"]
    assert (row["status"], row["jobs"], row["finished_jobs"]) == ("killed", 3, 2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_fit_the_terminal_and_keep_the_status(width: int, listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(listed / "10-01-00-iris-mlp", Path("outputs") / ("a_long_name_" * 9))
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    listing = list(entries(Path("outputs")))
    lines = format_runs(listing).splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(word in line for word in ("finished", "diverged")) for line in lines[1:])
    assert width < 80 or "test" in lines[0]
    assert width < 100 or lines[0].startswith("when")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--filter", "test_acuracy>0.9"], "test_acuracy: no run has it; did you mean `test_accuracy`?"),
        (["--filter", "optimzer.lr>0.9"], "did you mean `optimizer.lr`?"),
        (["--filter", "model.width=abc"], "model.width is a number in every run, and 'abc' is not"),
        (["--filter", "test_accuracy>abc"], "test_accuracy is a number in every run, and 'abc' is not"),
        (["--sort=-test_accuracy"], "descending: --sort test_accuracy --reverse"),
        (["--sort", "objctive"], "--sort: objctive: no run has it; did you mean `objective`?"),
        (["--limit", "-1"], "--limit"),
        (["--format", "xml"], "--format"),
        (["a", "b"], "b: unexpected argument"),
        (["nowhere"], "nowhere: no such directory"),
        (["--fliter", "x=1"], "did you mean `--filter`?"),
    ],
)
def test_mistakes_are_said(words: list[str], message: str, listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_damaged_killed_and_running_runs_are_listed_with_their_status(answer: Answer, listed: Path) -> None:
    damaged = listed / "10-00-00-iris-mlp" / "result.json"
    damaged.write_bytes(damaged.read_bytes().replace(b"0.", b"1.", 1))
    killed = listed / "10-01-00-iris-mlp"
    (killed / "result.json").unlink()
    table = listed / "10-02-00-sweep" / "sweep.csv"
    table.unlink()
    os.mkfifo(table)  # which must not be waited for
    (listed / "10-04-00-\x1b[31mred").mkdir()
    (listed / "10-04-00-\x1b[31mred" / "result.json").symlink_to("/etc/passwd")
    (listed / "10-05-00-deep").mkdir()
    (listed / "10-05-00-deep" / "result.json").write_text("[" * 100_000, encoding="utf-8")
    text = answer()
    found = {line.split()[2].rpartition("/")[2]: line.split()[3] for line in text.splitlines()[1:]}
    assert found == {
        "10-00-00-iris-mlp": "damaged",
        "10-01-00-iris-mlp": "killed",
        "10-02-00-sweep": "damaged",
        "10-03-00-bad": "diverged",
        "10-04-00-\\x1b[31mred": "damaged",
        "10-05-00-deep": "damaged",
    }
    with locked(killed, key="test"):
        [row] = json.loads(answer("--filter", "path~10-01", "--format", "json"))
    assert (row["status"], row["epochs"]) == ("running", 2)


def test_metrics_changed_after_the_end_are_noticed(answer: Answer, listed: Path) -> None:
    def status(word: str) -> str:
        [row] = json.loads(answer("--filter", f"path~{word}", "--format", "json"))
        return str(row["status"])

    run = listed / "10-00-00-iris-mlp"
    whole = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(whole)  # later, but the same
    assert status("10-00") == "finished"
    (run / "metrics.csv").write_bytes(bytes(range(128, 256)) + whole[128:])
    assert status("10-00") == "damaged"
    (run / "metrics.csv").write_bytes(whole + whole.splitlines(keepends=True)[-1])  # it was trained on, and killed
    assert status("10-00") == "killed"
    with locked(run, key="test"):
        assert status("10-00") == "running"


@pytest.mark.parametrize("kept", [slice(None, -1), slice(0), slice(30)])
def test_a_finished_run_whose_metrics_lost_their_end_stays_finished(answer: Answer, listed: Path, kept: slice) -> None:
    run = listed / "10-00-00-iris-mlp"
    (run / "metrics.csv").write_bytes((run / "metrics.csv").read_bytes()[kept])
    [row] = json.loads(answer("--filter", "path~10-00", "--format", "json"))
    assert row["status"] == "finished"
    assert main(["rm", "--status", "killed", "--yes"]) == 0
    assert run.is_dir()


@pytest.mark.parametrize("look", [is_locked, is_locked_by_trying])
def test_reading_a_lock_changes_nothing(look: Callable[[Path], bool], listed: Path) -> None:
    run = listed / "10-00-00-iris-mlp"
    for _ in range(2):
        with locked(run, key="test"):
            assert look(run)
            assert not look(listed / "10-01-00-iris-mlp")
        assert not look(run)
    assert not look(listed / "nothing")


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("@1", "10-03-00-bad"),
        ("@4", "10-00-00-iris-mlp"),
        ("sweep", "10-02-00-sweep"),
        ("10-01", "10-01-00-iris-mlp"),
        ("10-02-00-sweep/1", "10-02-00-sweep/1"),
        ("@2/2", "10-02-00-sweep/2"),
        ("…01-00-iris-mlp", "10-01-00-iris-mlp"),
        ("~-02-00-sweep/1", "10-02-00-sweep/1"),
        ("…2-00-sweep/2", "10-02-00-sweep/2"),
        (f"{DAY.name}/10-02…", "10-02-00-sweep"),
        (str(DAY / "10-00-00-iris-mlp"), "10-00-00-iris-mlp"),
    ],
)
def test_a_run_is_found_by_name(word: str, place: str, listed: Path) -> None:
    assert find_run_directory(word).resolve() == (listed / place).resolve()


def test_best_names_the_run_with_the_best_objective(listed: Path) -> None:
    jobs = [listed / "10-02-00-sweep" / str(job) for job in range(3)]
    runs = [listed / "10-00-00-iris-mlp", listed / "10-01-00-iris-mlp", *jobs]
    objectives = [json.loads((run / "result.json").read_text(encoding="utf-8"))["objective"] for run in runs]
    assert find_run_directory("@best").resolve() == runs[objectives.index(min(objectives))].resolve()
    shutil.rmtree(runs[objectives.index(min(objectives))])
    (listed / "10-01-00-iris-mlp" / "result.json").unlink(missing_ok=True)
    assert find_run_directory("@best").resolve() == jobs[objectives[2:].index(min(objectives[2:]))].resolve()


def test_best_considers_only_the_newest_runs_data(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iris = find_run_directory("@best").resolve()
    words = ["train", "device=cpu", "-q", "epochs=1", "dataset=two_class", "optimizer.lr=1e-6"]
    assert main([*words, "hydra.run.dir=outputs/xor"]) == 0  # a worse objective, on other data
    os.utime("outputs/xor/.hydra", (1.7e9, 1.7e9))
    assert find_run_directory("@best").resolve() == iris
    os.utime("outputs/xor/.hydra", (1.9e9, 1.9e9))
    assert find_run_directory("@best") == Path("outputs/xor")
    capsys.readouterr()
    assert main(["show", "@best"]) == 0
    assert capsys.readouterr().err.startswith("ch12: @best is outputs/xor: valid loss ")


def test_a_sweep_is_listed_with_its_best_objective(answer: Answer, listed: Path) -> None:
    objectives = [
        json.loads((listed / "10-02-00-sweep" / str(job) / "result.json").read_text(encoding="utf-8"))["objective"]
        for job in range(3)
    ]
    (line,) = [line for line in answer().splitlines() if "sweep" in line]
    assert f"3 finished, best valid loss {min(objectives):#.4g}" in line
    (row,) = [row for row in json.loads(answer("--format", "json")) if row["kind"] == "sweep"]
    assert (row["objective"], row["best_job"]) == (min(objectives), objectives.index(min(objectives)))


def test_a_run_of_a_version_without_a_key_gets_the_earlier_default(
    listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = listed / "10-00-00-iris-mlp"
    for name in ("last.pt", "best.pt", "previous.pt"):
        path = run / "checkpoints" / name
        if path.exists():
            state = load(path)
            settings = json.loads(state["settings"]) if isinstance(state["settings"], str) else state["settings"]
            del settings["logger"]
            state["settings"] = json.dumps(settings) if isinstance(state["settings"], str) else settings
            path.write_bytes(sealed_bytes(state))
    assert main(["eval", str(run)]) == 0
    assert main(["resume", str(run), "epochs=3", "-q"]) == 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("iris", "may be .*10-01-00-iris-mlp, .*10-00-00-iris-mlp; give more"),
        ("@5", "there are 4 runs and sweeps"),
        ("@0", "@1 is the newest"),
        ("10-02-00-sweep/9", "no such directory"),
        ("nothing", "see `ch12 runs`"),
        ("…iris-mlp", "may be .*10-01-00-iris-mlp, .*10-00-00-iris-mlp; give more"),
        ("…nothing", "is a shortened name, and no run below outputs/ fits it"),
        ("", "no such directory"),
        ("x" * 5000, "no such directory"),
        ("a\0b", "no such directory"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_reported(word: str, message: str, listed: Path) -> None:
    with pytest.raises(InputError, match=message):
        find_run_directory(word)


def test_an_export_of_a_job_is_named_after_its_sweep(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "10-02-00-sweep/1"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "10-02-00-sweep-1.py"


def test_other_commands_find_runs_by_name_too(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "10-02-00-sweep/1"]) == 0
    assert "10-02-00-sweep/1" in capsys.readouterr().out
    assert main(["resume", "@4", "epochs=3", "-q"]) == 0
    assert len((listed / "10-00-00-iris-mlp" / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_listing_imports_neither_torch_nor_hydra(listed: Path) -> None:
    code = "import sys; from ch12cli.cli.main import main; main(sys.argv[1:]); print('\\n', *sys.modules)"
    for words in (["runs"], ["runs", "--filter", "optimizer.lr>0"], ["runs", "@2", "--format", "csv"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert not {"torch", "hydra", "rich"} & set(done.stdout.rpartition("\n ")[2].split())


def test_a_filter_on_a_column_of_jobs_names_the_sweep_to_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-q", "-m", "seed=1,2", "epochs=1", "device=cpu", "hydra.sweep.dir=outputs/swept"]) == 0
    for option in (["--filter", "test_accuracy>0"], ["--sort", "test_accuracy"]):
        assert main(["runs", *option]) == 2
        hint = f"to filter the jobs of a sweep: `ch12 runs outputs/swept {option[0]} …`"
        assert hint in capsys.readouterr().err
        assert main(["runs", "swept", *option]) == 0


@pytest.mark.parametrize("record", ["directories", "compact"])
def test_a_job_is_found_by_its_tag(folder: Path, capsys: pytest.CaptureFixture[str], record: str) -> None:
    def said(*words: str) -> str:
        capsys.readouterr()
        assert main(["runs", *words]) == 0
        return capsys.readouterr().out

    words = ["train", "-q", "-m", "seed=1,2,3", "epochs=1", "device=cpu", f"sweep.record={record}"]
    for name in ("tagged", "other"):  # the other one is newer
        assert main([*words, f"hydra.sweep.dir=outputs/{name}"]) == 0
    assert main(["tag", "tagged/1", "good", "odd"]) == 0
    assert names(said("tagged", "--filter", "tags~good", "--format", "json")) == ["1"]
    assert names(said("tagged", "--filter", "not tags~good", "--format", "json")) == ["2", "0"]
    assert {row["path"]: row["tags"] for row in ch12cli.runs("outputs/tagged")} == {
        **dict.fromkeys(("outputs/tagged/0", "outputs/tagged/2")),
        "outputs/tagged/1": "good odd",
    }
    assert said("--filter", "tags~good") == (
        "none of the 2 runs in outputs/ matches --filter 'tags~good'; to filter the jobs of a sweep: "
        "`ch12 runs outputs/tagged --filter …`\n"
    )
    assert said("--filter", "tags~bad") == "none of the 2 runs in outputs/ matches --filter 'tags~bad'\n"
    sweep = [Path("outputs/tagged")]
    assert "of 1 run" in sweep_plot(sweep, "distribution", SweepChoice(where="tags~odd")).title
    with pytest.raises(InputError, match="--where 'tags~bad': none of the 3 jobs matches"):
        sweep_plot(sweep, "distribution", SweepChoice(where="tags~bad"))


def test_a_sweep_began_when_its_first_job_was_planned(listed: Path) -> None:
    before = entry_at(listed / "10-02-00-sweep").when
    assert before == 1.8e9 + 120
    (listed / "10-02-00-sweep" / ".ch12" / "progress.json").write_text("{}")  # as at each epoch
    words = ["train", "device=cpu", "-q", "epochs=2", "-m", "seed=1,2,3,4"]
    assert main([*words, f"hydra.sweep.dir={listed / '10-02-00-sweep'}"]) == 0
    assert entry_at(listed / "10-02-00-sweep").when == before
    assert {entry.when for entry in job_entries(listed / "10-02-00-sweep")} == {before}
    (listed / "10-02-00-sweep" / ".ch12" / "plan.json").unlink()
    os.utime(listed / "10-02-00-sweep" / "multirun.yaml", (1.7e9, 1.7e9))
    assert entry_at(listed / "10-02-00-sweep").when == 1.7e9  # of an earlier version, or another launcher
