"""Plots of predictions: ROC and calibration against scikit-learn and by hand, residuals and pictures of whole runs."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from ch12cli.cli.main import main
from ch12cli.plots.predictions import calibration_bins, roc_curve

WORDS = ["train", "device=cpu", "-q"]


@pytest.mark.parametrize("seed", range(5))
def test_a_roc_curve_is_that_of_scikit_learn_with_equal_scores_too(seed: int) -> None:
    draw = np.random.default_rng(seed)
    positive = draw.random(60) < 0.4
    scores = np.round(draw.random(60) * 0.6 + positive * 0.2, 1).astype(np.float64)
    false, true = roc_curve(scores, positive)
    expected_false, expected_true, _ = sklearn_roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(false, expected_false)
    np.testing.assert_allclose(true, expected_true)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(positive, scores))


def test_bins_of_calibration_have_equally_many_rows_and_equal_scores_share_one() -> None:
    scores = np.array([0.1, 0.2, 0.2, 0.3, 0.8, 0.9, 0.9, 1.0])
    positive = np.array([0, 0, 1, 0, 1, 1, 0, 1], bool)
    bins = calibration_bins(scores, positive, bins=2)
    assert bins.counts.tolist() == [4, 4]
    assert bins.predicted.tolist() == pytest.approx([0.2, 0.9])
    assert bins.observed.tolist() == [0.25, 0.75]
    # Wilson's interval of 1 in 4, as in R: prop.test(1, 4, correct = FALSE)
    assert (bins.low[0], bins.high[0]) == pytest.approx((0.0455873, 0.6993582), abs=1e-6)
    same = calibration_bins(np.full(30, 0.5), np.arange(30) < 12)
    assert (same.predicted.tolist(), same.observed.tolist(), same.counts.tolist()) == ([0.5], [0.4], [30])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*WORDS, "epochs=3", "dataset=two_class", "hydra.run.dir=two"]) == 0
        assert main([*WORDS, "epochs=3", "dataset=toy_regression", "hydra.run.dir=points"]) == 0
    return folder


def plotted(run: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[dict[str, str]]:
    """The numbers behind a plot."""
    monkeypatch.chdir(folder)
    assert main(["plot", run, "--kind", kind, "--data", f"{kind}.csv", *options]) == 0
    with open(folder / f"{kind}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_area_under_a_runs_roc_curve_is_its_rows_ranking(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plotted("two", "roc", trained, monkeypatch, "--split", "all")
    names = list(dict.fromkeys(row["line"] for row in rows))
    assert [name.partition(",")[0] for name in names] == ["training part", "validation part", "chance"]
    for name in names[:2]:
        points = np.array([
            [float(row["false positive rate"]), float(row["true positive rate"])] for row in rows if row["line"] == name
        ])  # fmt: skip
        assert points[0].tolist() == [0, 0]
        assert points[-1].tolist() == [1, 1]
        assert name.endswith(f"AUC {np.trapezoid(points[:, 1], points[:, 0]):.4f}")
    shares = plotted("two", "calibration", trained, monkeypatch)
    assert all(0 <= float(row["low"]) <= float(row["observed share"]) for row in shares if row["low"])
    assert "calibration error: validation" in capsys.readouterr().out


def test_residuals_are_the_true_less_the_predicted_values(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for row in plotted("points", "residuals", trained, monkeypatch) if row["line"] != "no error"]
    true = [float(row["predicted y"]) + float(row["true less predicted y"]) for row in rows]
    chapters = [1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0]  # the values of the chapter's regression
    assert sorted(true) == pytest.approx(sorted(chapters), abs=1e-5)


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        ("points", "roc", "--kind roc shows two classes, and its data have none; try --kind residuals"),
        ("points", "calibration", "shows two classes"),
        ("two", "residuals", "is a classifier, so it has no residuals; try --kind confusion"),
        ("two", "predictions", "its rows are no pictures of classes"),
    ],
)
def test_a_plot_that_does_not_suit_the_run_is_refused_in_one_line(
    run: str, kind: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(trained / run), "--kind", kind]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_pictures_have_their_predictions_the_surest_mistakes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(1)
    for number, name in enumerate(("boot", "shirt")):
        (folder / "pictures" / name).mkdir(parents=True)
        for each in range(20):
            pixels = draw.integers(0, 256, (8, 8)) // (1 + number)
            pillow.fromarray(pixels.astype(np.uint8)).save(folder / "pictures" / name / f"{each}.png")
    words = ["dataset=image_folder", "dataset.folder=pictures", "model=cnn", "epochs=1", "hydra.run.dir=run"]
    assert main([*WORDS, *words]) == 0
    rows = plotted("run", "predictions", folder, monkeypatch, "-o", "predictions.png")
    wrong = [row["wrong"] == "True" for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert all((", is " in row["predicted"]) == (row["wrong"] == "True") for row in rows)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([f"{'uv'[n % 2]},{n}" for n in range(60)], []),  # the first column decides the class
        ([f"{n * 1e160},{n}" for n in range(60)], ["dataset.scaling=none", "precision=float64"]),
    ],
    ids=["decided", "huge"],
)
def test_the_plane_of_two_features_is_chosen_without_warnings(  # which are errors here
    cells: list[str], words: list[str], folder: Path
) -> None:
    rows = "".join(f"{cell},{'ab'[n % 2]}\n" for n, cell in enumerate(cells))
    Path("t.csv").write_text(f"c,x,y\n{rows}")
    main([*WORDS, "epochs=1", "dataset=table", "dataset.file=t.csv", "hydra.run.dir=run", *words])
    with np.load("run/predictions.npz") as arrays:
        assert "plane.found" in arrays
