"""`ch12 plot`: each kind of plot, from runs and sweeps that are there, beside what other commands say of them."""

import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ch12cli.cli.main import main
from ch12cli.data.flowers import iris
from ch12cli.data.prepared import prepare
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.predictions.predictions_npz import recorded_predictions
from ch12cli.plots.plot import Field, Grid, Line, Lines, Plot
from ch12cli.plots.plotted_data import to_plotted_csv
from ch12cli.plots.predictions import recorded_plot
from ch12cli.plots.recorded import run_curves, sweep_curves
from ch12cli.saved.load import read_saved
from ch12cli.saved.predictions import Needed, predict_again

WORDS = ["train", "device=cpu", "-q", "epochs=3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plotted")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*WORDS, "hydra.run.dir=iris", "seed=1"]) == 0
        assert main([*WORDS, "hydra.run.dir=other", "optimizer.lr=0.1"]) == 0
        assert (
            main([*WORDS, "hydra.run.dir=points", "dataset=toy_regression", "optimizer=sgd", "optimizer.lr=0.1"]) == 0
        )
        words = ["hydra.sweep.dir=sweep", "-m", "seed=1,2,3", "model.width=4,8", "optimizer.lr=0.01,0.1"]
        assert main([*WORDS, *words]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def said(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(trained)
    capsys.readouterr()

    def of(*words: str, code: int = 0) -> str:
        assert main(list(words)) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return of


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("words", "title"),
    [
        (["iris"], "iris, mlp: learning curves"),
        (["iris", "other"], "Learning curves of 2 runs"),
        (["iris", "--kind", "boundary", "--features", "petal_length,petal_width"], "iris, mlp: decision boundary"),
        (["iris", "--kind", "confusion", "--split", "all"], "iris, mlp: confusion matrix"),
        (["points", "--kind", "line"], "toy_regression, mlp: regression line"),
        (["sweep"], "sweep: validation loss by two keys"),
        (["sweep", "--kind", "slice", "--x", "model.width"], "sweep: validation loss by one key"),
        (["sweep", "--x", "optimizer.lr", "--by", "model.width"], "sweep: validation loss by one key"),
        (["sweep", "--kind", "pair", "--metric", "seconds,test_accuracy"], "sweep: seconds against test accuracy"),
        (["sweep", "--where", "model.width=4"], "sweep, model.width=4: validation loss by one key"),
        (["sweep", "--kind", "parallel"], "sweep: validation loss by all keys"),
        (["sweep", "--kind", "importance"], "sweep: what validation loss depends on"),
        (["sweep", "--kind", "distribution", "--metric", "test_accuracy"], "sweep: test accuracy of 12 runs"),
        (["sweep", "--kind", "curve"], "sweep: learning curves"),
        (["sweep/3"], "iris, mlp: learning curves"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_kind_is_drawn_in_the_terminal_and_as_a_file(
    words: list[str], title: str, said: Callable[..., str], tmp_path: Path
) -> None:
    assert said("plot", *words).startswith(title)
    svg, png = tmp_path / "a.svg", tmp_path / "a.png"
    assert said("plot", *words, "-o", str(svg), "-o", str(png)) == f"{svg}\n{png}\n"
    texts = re.findall(r"<text[^>]*>([^<]+)<", svg.read_text(encoding="utf-8"))
    assert title in " ".join(texts)  # which may be in several lines
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_figure_for_a_paper_is_one_command_and_its_numbers_are_those_of_compare(
    said: Callable[..., str], tmp_path: Path
) -> None:
    file, data = tmp_path / "figure.pdf", tmp_path / "figure.csv"
    words = ["--x", "optimizer.lr", "--by", "model.width", "--style", "paper", "--size", "3.3,3", "--title", ""]
    assert said("plot", "sweep", *words, "-o", str(file), "--data", str(data)) == f"{file}\n{data}\n"
    assert file.read_bytes().startswith(b"%PDF")
    compared = json.loads(said("compare", "sweep", "--format", "json"))
    means = {(row["optimizer.lr"], row["model.width"]): row for row in compared}
    with data.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(means) == 4
    for row in rows:
        found = means[row["optimizer.lr"], row["line"].removeprefix("width=")]
        assert float(row["validation loss"]) == pytest.approx(found["objective"])
        assert float(row["high"]) - float(row["validation loss"]) == pytest.approx(found["objective_interval"])


def test_a_curve_is_the_runs_own_metrics(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    rows = read_metrics(Path("iris/metrics.csv"))
    loss = run_curves([Path("iris")], None).panels[0]
    assert isinstance(loss, Lines)
    assert [line.y.tolist() for line in loss.lines] == [[row[n] for row in rows] for n in ("train_loss", "valid_loss")]


def test_a_sweeps_curves_are_averaged_over_seeds(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    panel = sweep_curves(Path("sweep")).panels[0]
    assert isinstance(panel, Lines)
    assert {line.name for line in panel.lines} == {
        f"width={width}, lr={rate} (3 runs)" for width in (4, 8) for rate in ("0.01", "0.1")
    }
    with open("sweep/sweep.csv", encoding="utf-8", newline="") as file:
        jobs = [row["job"] for row in csv.DictReader(file) if (row["model.width"], row["optimizer.lr"]) == ("8", "0.1")]
    tables = [read_metrics(Path("sweep") / job / "metrics.csv") for job in jobs]
    line = next(line for line in panel.lines if line.name.startswith("width=8, lr=0.1"))
    wanted = [np.mean([rows[epoch]["valid_loss"] for rows in tables]) for epoch in range(3)]
    np.testing.assert_allclose(line.y, wanted)


def many_keys(folder: Path) -> Path:
    """A sweep over four keys with long names, as it lies on disk: each job's loss is its number."""
    combinations = list(
        itertools.product(("adagrad", "rmsprop"), ("0.0001", "0.0002"), ("leaky_relu", "softplus"), (4, 8))
    )
    lines = ["job,directory,status,objective,command"]
    for job, (optimizer, rate, activation, width) in enumerate(combinations):
        words = f"optimizer={optimizer} optimizer.lr={rate} activation={activation} model.width={width} seed={job % 2}"
        lines.append(f"{job},{job},finished,{job},ch12 train {words}")
        hydra = folder / "many" / f"{job}" / ".hydra"
        hydra.mkdir(parents=True)
        config = f"optimizer:\n  lr: {rate}\nmodel:\n  width: {width}\nseed: {job % 2}\n"
        (hydra / "config.yaml").write_text(config, encoding="utf-8")
        choices = f"      optimizer: {optimizer}\n      activation: {activation}\n"
        (hydra / "hydra.yaml").write_text(f"hydra:\n  runtime:\n    choices:\n{choices}", encoding="utf-8")
        text = f"epoch,train_loss,valid_loss\n1,{job},{job}\n"
        (folder / "many" / f"{job}" / "metrics.csv").write_text(text, encoding="utf-8")
    (folder / "many" / "sweep.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder / "many"


def test_only_runs_that_differ_in_the_seed_are_averaged_however_long_the_values_are(tmp_path: Path) -> None:
    sweep = many_keys(tmp_path)
    plot = sweep_curves(sweep)
    panel = plot.panels[0]
    assert isinstance(panel, Lines)
    assert [line.y.tolist() for line in panel.lines] == [[job] for job in range(8)]
    assert plot.notes[-1] == "The best 8 of 16 combinations; all of them with optimizer=adagrad."
    assert len({line.name for line in panel.lines}) == 8
    assert panel.lines[1].name == "lr=0.0001, activation=leaky_relu, width=8"  # all eight have the same optimizer


def test_several_runs_are_averaged_over_seeds_too(tmp_path: Path) -> None:
    sweep = many_keys(tmp_path)
    panel = run_curves([sweep / f"{job}" for job in range(16)], None).panels[0]
    assert isinstance(panel, Lines)
    assert [line.y.tolist() for line in panel.lines] == [[job] for job in range(8)]


def predicted(said: Callable[..., str], run: str, header: str, rows: list[str], tmp_path: Path) -> list[dict[str, str]]:
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return list(csv.DictReader(io.StringIO(said("predict", run, str(file)))))


def made_again(run: str, kind: str, *, split: str | None = None, features: str | None = None) -> Plot:
    """A plot of the predictions of a saved run, made with its network."""
    found, _ = predict_again(Path(run), Needed(kind, split, features), best=False, trust=False)
    plot = recorded_plot(found, kind, title="t", split="all", features=None, place=Path(run))
    assert plot is not None
    return plot


def test_a_boundary_shows_the_predictions_at_the_same_points(said: Callable[..., str], tmp_path: Path) -> None:
    run = Path("iris")
    plot = made_again("iris", "boundary", features="petal_width,sepal_length")
    (field,) = plot.panels
    assert isinstance(field, Field)
    assert (field.x.label, field.y.label) == ("petal width (cm)", "sepal length (cm)")
    data = read_saved(run).settings.config["dataset"]
    table = iris()
    names = ("test_size", "valid_size", "split", "split_seed", "scaling")
    train = prepare(table, **{name: data[name] for name in names}).train
    means = dict(zip(table.feature_names, table.features[train.rows].mean(0).tolist(), strict=True))
    size = len(field.found)
    xs, ys = (np.linspace(low, high, size).tolist() for low, high in (field.x_range, field.y_range))
    points = [(row, column) for row in range(0, size, 37) for column in range(0, size, 41)]
    rows = [{**means, "petal_width": xs[column], "sepal_length": ys[row]} for row, column in points]
    lines = [",".join(map(repr, row.values())) for row in rows]
    answers = predicted(said, "iris", ",".join(means), lines, tmp_path)
    found = [field.names[field.found[point]] for point in points]
    assert [next(iter(answer.values())) for answer in answers] == found
    assert len(set(found)) > 1


@pytest.mark.slow
def test_the_default_features_of_a_boundary_separate_the_classes(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    plot = made_again("iris", "boundary")
    (field,) = plot.panels
    assert isinstance(field, Field)
    assert (field.x.label, field.y.label) == ("petal length (cm)", "petal width (cm)")  # as any book on Iris shows


def test_a_regression_line_shows_the_predictions_along_the_feature(said: Callable[..., str], tmp_path: Path) -> None:
    plot = made_again("points", "line")
    (panel,) = plot.panels
    assert isinstance(panel, Lines)
    network: Line = panel.lines[0]
    places = range(0, len(network.x), 57)
    answers = predicted(said, "points", "x", [repr(float(network.x[place])) for place in places], tmp_path)
    wanted = [float(next(iter(answer.values()))) for answer in answers]
    np.testing.assert_allclose(network.y[list(places)], wanted, rtol=1e-6)
    assert "".join(line.name for line in panel.lines[1:]).startswith("training rows")


def test_a_confusion_matrix_is_that_of_eval(said: Callable[..., str]) -> None:
    wanted = json.loads(said("eval", "iris", "--split", "all", "--format", "json"))["parts"]
    plot = made_again("iris", "confusion", split="all")
    grids = [panel for panel in plot.panels if isinstance(panel, Grid)]
    assert [grid.values.tolist() for grid in grids] == [part["confusion"] for part in wanted.values()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "plot: no run given; name runs or a sweep"),
        (["nothere"], "nothere: no such directory"),
        (["sweep", "iris"], "sweep: a sweep is plotted by itself; name one of its runs, such as sweep/0"),
        (["sweep", "--kind", "boundary"], "--kind boundary: shows a single run; name one, such as sweep/0"),
        (["iris", "other", "--kind", "line"], "--kind line: shows a single run; name one, such as iris"),
        (["iris", "-o", "a.jpg"], "-o a.jpg: must end in .png, .svg or .pdf"),
        (["iris", "-o", "none/a.png"], "-o none/a.png: there is no directory none"),
        (["iris", "--metric", "valid_los"], "--metric valid_los: the runs have train_loss"),
        (["iris", "--kind", "curves"], "--kind curves: must be one of curve, norms"),
        (["points", "--kind", "boundary"], "points: has no classes, so no boundary between them; try --kind line"),
        (["points", "--kind", "confusion"], "points: has no classes, so no confusion matrix; try --kind line"),
        (["iris", "--kind", "line"], "iris: is a classifier, so it has no regression line; try --kind boundary"),
        (["iris", "--kind", "boundary", "--features", "petal_lengt,sepal_width"], "did you mean `petal_length`?"),
        (["iris", "--kind", "boundary", "--features", "petal_length"], "must be 2 of the features"),
        (["sweep", "--kind", "heatmap", "--x", "seed"], "--x seed: is not swept"),
        (["sweep/sweep.csv"], "is a file"),
        (["iris", "--x", "seed"], "--x: only for --kind heatmap or slice; this plot is a curve"),
        (["sweep", "--by", "seed"], "--by seed: is not swept"),
        (["sweep", "--x", "model.width", "--by", "model.width"], "--by model.width: is shown already"),
        (["sweep", "--where", "model.widt=4"], "no job has model.widt; did you mean `model.width`?"),
        (["sweep", "--where", "model.width=5"], "none of the 12 jobs matches"),
        (["sweep", "--where", "="], "--where '=': "),
        (["sweep", "--size", "3"], "--size 3: must be width and height in inches, as in 3.3,2.5"),
        (["sweep", "--size", "nan,3"], "each side must be from 1 to 60 inches"),
        (["sweep", "--dpi", "0"], "--dpi 0: must be a whole number from 20 to 2400"),
        (["sweep", "--data", "a.txt"], "--data a.txt: must end in .csv"),
        (["sweep", "--kind", "pair", "--metric", "seconds"], "a pair needs two columns"),
        (["iris", "--where", "seed=1"], "--where: only for a sweep"),
        (["iris", "--all"], "--all: only for --kind slice; this plot is a curve"),
        (["sweep", "--features", "a,b"], "--features: only for --kind boundary or line"),
        (["iris", "points", "--kind", "importance"], "differ in their metric or their data"),
        (["iris", "other", "--kind", "importance"], "has 2 runs, too few to rank the keys; give 5 or more"),
    ],
)
def test_an_impossible_plot_is_refused_in_one_line(words: list[str], message: str, said: Callable[..., str]) -> None:
    text = said("plot", *words, code=2)
    assert message in text
    assert "Traceback" not in text


def test_without_matplotlib_a_file_is_refused_with_what_to_install(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'ch12[plots]'" in said("plot", "iris", "-o", "a.png", code=2)
    assert not Path("a.png").exists()
    assert said("plot", "iris").startswith("iris")


def test_damaged_runs_are_reported_and_left_out_of_the_plot(
    trained: Path, said: Callable[..., str], tmp_path: Path
) -> None:
    run = shutil.copytree(trained / "iris", tmp_path / "run")
    (run / "metrics.csv").write_bytes(b"\xff\xfeepoch")
    assert "damaged" in said("plot", str(run), code=2)
    (run / "metrics.csv").unlink()
    assert "no run has a whole epoch" in said("plot", str(run), code=2)
    shutil.rmtree(run / "checkpoints")
    assert "is not the directory of a run" in said("plot", str(run), "--kind", "boundary", code=2)
    sweep = shutil.copytree(trained / "sweep", tmp_path / "sweep")
    (sweep / "0" / "metrics.csv").write_bytes(b"\x00")
    (sweep / "1" / "metrics.csv").unlink()
    os.mkfifo(sweep / "1" / "metrics.csv")
    assert said("plot", str(sweep), "--kind", "curve").endswith("Lines: mean of the runs.\n")


@pytest.mark.slow
def test_curves_and_plots_of_sweeps_are_drawn_without_torch(trained: Path) -> None:
    script = (
        "import sys; from ch12cli.cli.main import main\n"
        "for words in (['iris'], ['sweep'], ['sweep', '--kind', 'importance'], ['sweep', '-o', 'x.svg']):\n"
        "    assert main(['plot', *words]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=trained, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("run", "kind", "option"),
    [
        ("iris", "confusion", {"split": "all"}),
        ("iris", "boundary", {}),
        ("points", "residuals", {"split": "train"}),
        ("points", "line", {}),
    ],
)
def test_recorded_predictions_are_those_of_the_saved_network(
    run: str, kind: str, option: dict[str, str], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    found = recorded_predictions(Path(run))
    assert found is not None
    given = {"split": None, "features": None, **option}
    recorded = recorded_plot(found, kind, title="t", place=Path(run), **given)
    assert recorded is not None
    assert to_plotted_csv(recorded) == to_plotted_csv(made_again(run, kind, **option))
    if kind == "boundary":
        (field,), (again,) = recorded.panels, made_again(run, kind).panels
        assert isinstance(field, Field)
        assert isinstance(again, Field)
        np.testing.assert_array_equal(field.found, again.found)
        np.testing.assert_allclose(field.sure, again.sure, atol=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["report", "iris"], ["plot", "iris", "--kind", "boundary"], ["plot", "points", "--kind", "residuals"]]
)
def test_what_is_recorded_of_a_run_is_shown_without_torch(words: list[str], trained: Path) -> None:
    code = (
        "import sys; from ch12cli.cli.main import main; "
        f"code = main({words!r}); print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, check=True)
    assert done.stderr.endswith("0 False\n")


def test_letters_without_a_font_are_named_in_one_line(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert main(["plot", "iris", "--title", "\U00012000 é", "-o", str(tmp_path / "a.png")]) == 0  # cuneiform
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "no installed font has \U00012000: boxes are drawn" in errors
