"""The Python interface against the files of the command line, and against plain torch, pandas and IPython."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest
import torch

import ch12cli
from ch12cli import api
from ch12cli.cli.main import main
from ch12cli.data import iris
from ch12cli.errors import InputError
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.run.callbacks import NullCallback
from ch12cli.sweeps.callbacks import SweepCallback, TasksCallback

WORDS = ["train", "device=cpu", "-q", "epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listed")
    before = Path.cwd()
    os.chdir(folder)
    try:
        sweep = ["-m", "hydra.sweep.dir=outputs/sweep", "seed=range(60)", "optimizer.lr=0.01,1e30", "optimizer=sgd"]
        assert main([*WORDS, *sweep]) == 0
        points = ["dataset=toy_regression", "optimizer=sgd", "early_stopping.patience=9"]
        assert main([*WORDS, "hydra.run.dir=outputs/points", *points]) == 0
        shutil.copytree("outputs/points", "outputs/damaged")
        Path("outputs/damaged/result.json").write_text("{", encoding="utf-8")
    finally:
        os.chdir(before)
    return folder / "outputs"


@pytest.mark.slow
def test_each_run_and_each_job_is_a_row_with_results_and_settings(trained: Path) -> None:
    rows = ch12cli.runs(trained)
    assert len(rows) == 60 * 2 + 2
    assert len({tuple(row) for row in rows}) == 1  # the same keys
    jobs = {row["path"]: row for row in rows}
    for record in read_sweep_csv(trained / "sweep" / "sweep.csv"):
        row = jobs[str(trained / "sweep" / str(record.job))]
        assert row["status"] == record.status
        assert row["seed"] == int(record.overrides["seed"])
        assert row["optimizer.lr"] == float(record.overrides["optimizer.lr"])
        if record.status == "finished":
            assert row["test_accuracy"] == record.metrics["test_accuracy"]
    assert jobs[str(trained / "points")]["dataset"] == "toy_regression"
    assert jobs[str(trained / "damaged")]["status"] == "damaged"


@pytest.mark.slow
def test_pandas_and_polars_take_the_rows_with_their_types(trained: Path) -> None:
    rows = ch12cli.runs(trained)
    one, other = pandas.DataFrame(rows), polars.DataFrame(rows, infer_schema_length=None)
    assert one.shape == other.shape == (122, len(rows[0]))
    assert one["test_accuracy"].dtype == "float64"
    assert other["optimizer.lr"].dtype == polars.Float64
    assert other["when"].dtype == polars.Datetime
    assert (other["seed"].dtype, other["best_epoch"].dtype, other["model.width"].dtype) == (polars.Int64,) * 3  # type: ignore[comparison-overlap]
    assert other["early_stopping.patience"].dtype == polars.Int64  # of which most runs have none
    assert not any(name.startswith("hydra") for name in rows[0])
    finished = one[(one.status == "finished") & (one.kind == "job")]
    wanted = [row.metrics["test_loss"] for row in read_sweep_csv(trained / "sweep" / "sweep.csv") if row.metrics]
    assert finished["test_loss"].mean() == pytest.approx(sum(wanted) / len(wanted))


def test_values_keep_their_types_and_missing_ones_are_none(trained: Path) -> None:
    rows = {Path(row["path"]).name: row for row in ch12cli.runs(trained)}
    jobs = [row for row in rows.values() if row["kind"] == "job"]
    assert {type(row[name]) for row in jobs for name in ("seed", "model.width", "epochs")} == {int}
    assert {type(row["best_epoch"]) for row in jobs if row["status"] == "finished"} == {int}
    assert {row["early_stopping.patience"] for row in jobs} == {None}
    assert rows["points"]["early_stopping.patience"] == 9
    assert rows["damaged"]["objective"] is None
    assert not any(value == "null" for row in rows.values() for value in row.values())


@pytest.mark.slow
def test_a_sweep_with_a_damaged_table_is_one_row_with_that_status(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "points", tmp_path / "points")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.csv").write_bytes(b"\xff\xfe")
    found = {Path(row["path"]).name: row["status"] for row in ch12cli.runs(tmp_path)}
    assert found == {"points": "finished", "sweep": "damaged"}


def test_runs_of_a_sweeps_name_are_its_jobs(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parent)
    assert len(ch12cli.runs("sweep")) == 120
    with pytest.raises(InputError, match="nothere: no such directory"):
        ch12cli.runs("nothere")


def test_a_notebook_shows_a_table_of_rows_and_the_curve_of_a_run(trained: Path) -> None:
    rows = ch12cli.runs(trained)
    text = rows._repr_html_()
    assert text.count("<tr>") == 21
    assert "and 102 more" in text
    row = next(row for row in rows if row["path"].endswith("points"))
    assert "train loss" in row._repr_html_()
    (line,) = re.findall(r"<polyline points='([^']+)'", row._repr_html_())
    heights = [float(point.partition(",")[2]) for point in line.split()]
    losses = [each["train_loss"] for each in read_metrics(Path(row["path"]) / "metrics.csv")]
    assert (heights[0] < heights[1]) == (losses[0] > losses[1])  # the higher the further up
    assert f"{row['objective']:.4g}" in row._repr_html_()
    row["path"] = "<b>"
    assert "<b>" not in row._repr_html_()


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert ch12cli.runs(tmp_path) == []
    assert pandas.DataFrame(ch12cli.runs(tmp_path)).empty


@pytest.mark.slow
def test_a_listing_needs_no_torch(trained: Path) -> None:
    script = (
        f"import sys, ch12cli; assert len(ch12cli.runs({str(trained)!r})) == 122; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


QUICK = ("device=cpu", "epochs=2")


def plain_network(directory: Path) -> torch.nn.Module:
    """The default network of Iris built by hand, with the weights of model.pt."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    state = torch.load(directory / "model.pt", weights_only=True)
    module.load_state_dict(dict(zip(module.state_dict(), state.values(), strict=True)))
    return module.eval()


def scaled_iris(directory: Path) -> torch.Tensor:
    """The 150 flowers scaled by the numbers in the run's checkpoint, (150, 4)."""
    scaling = torch.load(directory / "checkpoints/last.pt", weights_only=True)["scaling"]
    return torch.tensor((iris().features - np.array(scaling["mean"])) / np.array(scaling["deviation"])).float()


def test_a_run_trained_from_python_has_the_files_and_weights_of_the_command(folder: Path) -> None:
    run = api.train(*QUICK, "hydra.run.dir=python")
    assert main(["train", "-q", *QUICK, "hydra.run.dir=command"]) == 0
    ours, theirs = (torch.load(Path(name, "model.pt"), weights_only=True) for name in ("python", "command"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in run.model.state_dict().items())
    assert (run.status, run.directory) == ("finished", Path("python").resolve())
    assert run.metrics == read_metrics(Path("python/metrics.csv"))
    assert run.settings["epochs"] == 2
    assert "finished" in repr(run)


def test_a_loaded_run_has_the_network_that_plain_torch_builds_from_its_file(folder: Path) -> None:
    api.train(*QUICK, "hydra.run.dir=a")
    run = api.load_run("a")
    x = scaled_iris(Path("a"))
    with torch.no_grad():
        assert torch.allclose(run.model(x), plain_network(Path("a"))(x), atol=1e-6)
    assert run.model is run.model
    assert run.result["status"] == run.status == "finished"


def test_predictions_for_a_file_and_for_an_array_are_those_of_plain_torch(folder: Path) -> None:
    run = api.train(*QUICK, "hydra.run.dir=a")
    with torch.no_grad():
        wanted = plain_network(Path("a"))(scaled_iris(Path("a"))).softmax(1)
    names = ",".join(iris().feature_names)
    np.savetxt("rows.csv", iris().features, delimiter=",", header=names, comments="")
    for rows in ("rows.csv", iris().features):
        found = run.predict(rows)
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities, wanted.numpy(), atol=1e-6)
        assert np.array_equal(found.values, wanted.argmax(1).numpy())


@pytest.mark.parametrize(
    ("rows", "rule"),
    [([1.0, 2.0], r"shape \(2,\); must be \(rows, 4\)"), ([["a"] * 4], "array of numbers"), ([[np.nan] * 4], "NaN")],
)
def test_an_array_of_a_wrong_shape_is_refused(folder: Path, rows: object, rule: str) -> None:
    run = api.train(*QUICK, "epochs=1", "hydra.run.dir=a")
    with pytest.raises(InputError, match=rule):
        run.predict(rows)  # type: ignore[arg-type]


class ArrowTable:
    """What a table of Arrow has of a data frame: `columns` are the values, `column_names` their names."""

    def __init__(self, frame: pandas.DataFrame) -> None:
        self.column_names, self.columns = list(frame), [frame[name].to_numpy() for name in frame]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[self.column_names.index(name)]


def test_the_columns_of_a_data_frame_are_matched_by_name(folder: Path) -> None:
    run = api.train(*QUICK, "hydra.run.dir=a")
    names, features = list(iris().feature_names), iris().features
    wanted = run.predict(features).probabilities
    assert wanted is not None
    frame = pandas.DataFrame(features, columns=names)[[*names[::-1]]].assign(note="x")
    frames: list[Any] = [frame, polars.DataFrame(frame.to_dict("list")), frame.astype(object), ArrowTable(frame)]
    for rows in frames:
        found = run.predict(rows).probabilities
        assert found is not None
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(run.predict(pandas.DataFrame(features)).probabilities, wanted)  # numbered columns
    for given, rule in (
        (frame.drop(columns="petal_width"), r"^rows: have no column petal_width; its other columns are note$"),
        (frame.set_axis(list("abcde"), axis=1), r"the columns a, b, .*; must have sepal_length, .* or no names"),
        (pandas.concat([frame, frame], axis=1), "rows: have the column sepal_length more than once"),
        (frame.assign(petal_width=None), "line 1, column petal_width: is empty"),
        (frame.assign(petal_width=1j), r"line 1, column petal_width: '1j' is not a number"),
        (frame[:0], "rows: there are none"),
        (polars.LazyFrame(frame.to_dict("list")), r"^rows: a LazyFrame; collect\(\) it first$"),
    ):
        with pytest.raises(InputError, match=rule):
            run.predict(given)  # type: ignore[arg-type]


def test_texts_dates_and_whole_numbers_of_a_data_frame_are_read_as_those_of_a_file(folder: Path) -> None:
    cells = {
        "colour": ["red", "blue", "green"] * 10,
        "day": [f"2024-01-{day + 1:02d}" for day in range(30)],
        "level": [1, 2, 3, 4, 5] * 6,
        "y": [f"{row % 7}.5" for row in range(30)],
    }
    frame = pandas.DataFrame(cells)
    frame.to_csv("table.csv", index=False)
    words = ["dataset=table", "dataset.file=table.csv", "dataset.numbers=[day]", "dataset.categories=[level]"]
    run = api.train(*QUICK, *words, "hydra.run.dir=a")
    wanted = run.predict("table.csv").values
    dated = frame.assign(day=pandas.to_datetime(frame["day"]), level=frame["level"].astype(float))
    encoded = pandas.get_dummies(frame[["colour", "level"]].astype(str), prefix_sep="=")
    encoded["day"] = range(19723, 19723 + 30)  # days since 1970
    for rows in (
        frame,
        polars.DataFrame(frame.to_dict("list")),
        dated,
        polars.DataFrame(dated.to_dict("list")),
        encoded,
    ):
        np.testing.assert_array_equal(run.predict(rows).values, wanted)
    with pytest.raises(InputError, match=r"'pink' did not occur in training; .*; or add allow_unseen=True"):
        run.predict(frame.assign(colour="pink"))
    found = run.predict(frame.assign(colour="pink"), allow_unseen=True)
    assert found.messages[-1].startswith("rows: did not occur in training, encoded as none of the known texts: 'pink'")


def test_a_tensor_that_needs_gradients_is_predicted_and_complex_numbers_are_not(folder: Path) -> None:
    run = api.train(*QUICK, "hydra.run.dir=a")
    features = iris().features
    tensor = torch.tensor(features, requires_grad=True)
    np.testing.assert_array_equal(run.predict(tensor).values, run.predict(features).values)
    for given in (features + 1j, (features + 1j).tolist(), features.astype("datetime64[D]")):
        with pytest.raises(InputError, match="rows: cannot be converted to an array of numbers"):
            run.predict(given)


def test_a_run_resumed_from_python_equals_the_uninterrupted_one(folder: Path) -> None:
    whole = api.train("device=cpu", "epochs=4", "hydra.run.dir=whole")
    resumed = api.train(*QUICK, "hydra.run.dir=part").resume("epochs=4")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)
    assert len(resumed.metrics) == 4
    assert resumed.resume() is resumed  # nothing is left to do


def test_evaluate_reproduce_and_export_do_what_their_commands_do(folder: Path) -> None:
    run = api.train(*QUICK, "hydra.run.dir=a")
    (part,) = run.evaluate(split="test").parts.values()
    assert part.metrics["loss"] == pytest.approx(run.result["test"]["loss"])
    assert run.reproduce().agrees
    assert run.export("again.py") == [Path("again.py"), Path("again.npz")]
    assert main(["export", "a", "-o", "command.py"]) == 0
    assert Path("again.py").read_text().replace("again", "command") == Path("command.py").read_text()
    assert Path("again.npz").read_bytes() == Path("command.npz").read_bytes()
    with pytest.raises(InputError, match=r"must end in \.onnx, \.pt2, \.py"):
        run.export("again.txt")


untyped: Any = api


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (
            lambda run: untyped.train(["epochs=1"]),
            r"'epochs=1'\] is no text; .* such as 'epochs=5'; .* train\(\*overrides\)",
        ),
        (lambda run: untyped.train({"epochs": 1}), "overrides: .* is no text; write each as text such as 'epochs=5'$"),
        (lambda run: untyped.train(None), "overrides: None is no text"),
        (lambda run: untyped.train(5), "overrides: 5 is no text"),
        (lambda run: untyped.sweep(["seed=1,2"]), r"for a list write sweep\(\*overrides\)"),
        (lambda run: untyped.sweep("seed=1,2", jobs_file=5), "jobs_file=5: must be a path"),
        (lambda run: untyped.train(config_dir=5), "config_dir=5: must be a path, as text or pathlib.Path, not int"),
        (lambda run: untyped.train(config_dir=[5]), "config_dir=5: must be a path"),
        (lambda run: untyped.load_run(None), "path=None: must be a path"),
        (lambda run: untyped.runs(None), "folder=None: must be a path"),
        (lambda run: run.export(5), "path=5: must be a path"),
        (lambda run: run.resume(5), "overrides: 5 is no text"),
        (lambda run: run.predict(None), "^rows: have shape"),
        (lambda run: run.evaluate(split="foo"), "^split=foo: must be one of train, valid, test, all$"),
        (lambda run: run.resume("optimizer.lr=3"), "leave it out, or add fork=True for a new run"),
        (lambda run: run.resume("hydra.run.dir=b"), "add fork=True for a new run"),
    ],
)
def test_an_argument_of_another_type_is_refused_with_what_it_must_be(
    folder: Path, call: Callable[[Any], object], rule: str
) -> None:
    run = api.train(*QUICK, "epochs=1", "hydra.run.dir=a")
    with pytest.raises(InputError, match=rule):
        call(run)
    assert [path.name for path in folder.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["on_begin", "on_message", "on_epoch_end", "on_end"])
def test_what_a_callback_raises_names_the_callback_and_its_line(folder: Path, name: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of a test")

    callback = NullCallback()
    setattr(callback, name, fail)
    loud = "early_stopping.patience=1"  # gives a message
    rule = rf"callbacks: NullCallback\.{name} raised ZeroDivisionError: of a test \(test_api\.py, line \d+\)"
    with pytest.raises(InputError, match=rule) as caught:
        api.train(*QUICK, "epochs=9", loud, "optimizer.lr=1e-30", "hydra.run.dir=a", callbacks=callback)
    assert (str(Path("a").resolve()) in str(caught.value)) == (name == "on_end")
    assert (api.load_run("a").status == "finished") == (name == "on_end")


class Jobs:
    """A callback of a sweep that fails after the first job, and shows what tasks do."""

    def on_begin(self, plan: object, *, directory: Path) -> None: ...
    def on_progress(self, item: object, progress: object) -> None: ...
    def on_message(self, text: str, *, warning: bool = False) -> None: ...
    def on_tasks(self, text: str) -> None: ...
    def on_job_end(self, done: object, job: object) -> None:
        raise ZeroDivisionError("of a test")


def test_what_a_sweeps_callback_raises_names_the_callback_and_its_line(folder: Path) -> None:
    rule = r"callbacks: Jobs\.on_job_end raised ZeroDivisionError: of a test \(test_api\.py, line \d+\)"
    with pytest.raises(InputError, match=rule):
        api.sweep(*QUICK, "seed=1,2", "hydra.sweep.dir=s", callbacks=Jobs())
    (wrapped,) = api._listed(Jobs(), SweepCallback)
    assert inspect.getattr_static(wrapped, "on_tasks")  # as isinstance looks for it from Python 3.12 on
    assert isinstance(wrapped, TasksCallback)


def test_a_sweep_from_python_has_a_row_and_a_run_for_each_job(folder: Path) -> None:
    sweep = api.sweep(*QUICK, "optimizer=sgd", "optimizer.lr=0.1,1e30", "seed=1,2", "hydra.sweep.dir=s")
    assert len(sweep.rows) == 4
    records = {record.job: record for record in read_sweep_csv(Path("s/sweep.csv"))}
    for job in range(4):
        run = sweep.run(job)
        assert run.status == records[job].status
        assert run.settings["seed"] == int(records[job].overrides["seed"])
    assert {record.status for record in records.values()} == {"finished", "diverged"}
    assert (sweep.failed, sweep.interrupted) == (0, False)
    with pytest.raises(InputError, match="has no job 4; it has 4, from 0"):
        sweep.run(4)
    with pytest.raises(InputError, match=r"is a sweep; give one of its jobs"):
        api.load_run("s")


def test_several_values_for_one_run_are_refused_with_the_function_that_takes_them(folder: Path) -> None:
    with pytest.raises(InputError, match=r"^seed=1,2: several values; use ch12cli\.sweep to train them all"):
        api.train("seed=1,2")


class Epochs(NullCallback):
    """Keeps the rows of on_epoch_end."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float | int]] = []

    def on_epoch_end(self, row: object) -> None:
        self.rows.append(dict(row))  # type: ignore[call-overload]


def test_one_or_several_callbacks_are_called_in_each_epoch(folder: Path) -> None:
    one, other = Epochs(), Epochs()
    run = api.train(*QUICK, callbacks=one)
    assert one.rows == run.metrics
    run = api.train(*QUICK, callbacks=[one, other])
    assert other.rows == run.metrics
    assert one.rows[2:] == run.metrics
    with pytest.raises(InputError, match=r"callbacks: object has no method on_begin; derive it from ch12cli\.run"):
        api.train(*QUICK, callbacks=[one, object()])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"callbacks: Epochs has no method .*; derive it from ch12cli\.sweeps"):
        api.sweep(*QUICK, "seed=1,2", callbacks=one)  # type: ignore[arg-type]


def test_a_notebook_shows_the_messages_of_an_input_error_without_a_traceback() -> None:
    with pytest.raises(InputError) as caught:
        api.train("epochs=-1", "optimizer.lr=-1")
    lines = caught.value._render_traceback_()  # which IPython calls in place of its own
    assert len(lines) == 2
    assert all(line.startswith("InputError: ") for line in lines)
    assert "epochs=-1" in lines[0] + lines[1]


def test_the_public_names_are_those_that_are_documented() -> None:
    assert set(ch12cli.__all__) == {"Run", "Sweep", "load_run", "runs", "sweep", "train"}
    assert all(getattr(api, name).__doc__ for name in ch12cli.__all__)
    assert all(getattr(ch12cli, name) is getattr(api, name) for name in ch12cli.__all__)  # also after a sweep
