"""The hard cases: plots with long names, many values, diverged runs, few distinct values, and extreme numbers."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ch12cli.catalogue.formatting import count_of
from ch12cli.files.predictions.predictions_npz import DataFacts, PredictedPart
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots import predictions, sweeps
from ch12cli.plots.curves import learning_curves
from ch12cli.plots.parallel import parallel_coordinates
from ch12cli.plots.plot import (
    Axis,
    Bars,
    Field,
    Grid,
    Histogram,
    Line,
    Lines,
    Parallel,
    ParallelAxis,
    Pictures,
    Plot,
)

LONG = tuple(f"a_class_name_of_five_and_forty_letters_number{n}" for n in range(8))
SCRIPTS = ("Ελληνικά", "Русский", "日本語の名前", "العربية", "हिन्दी", "ไทย", "한국어", "naïve café")
NAN, INF = float("nan"), float("inf")


def confusion(names: tuple[str, ...], *, parts: int = 1, rows: int = 40) -> Plot:
    """A confusion matrix with most rows on the diagonal."""
    draw = np.random.default_rng(1)
    panels = []
    for part in ("validation", "training", "test")[:parts]:
        counts = draw.poisson(0.7, (len(names), len(names))) + np.diag(draw.poisson(rows, len(names)))
        shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
        texts = [[str(each) if each or len(names) <= 12 else "" for each in row] for row in counts.tolist()]
        scale, bar = f"{part} part: {counts.sum():,} rows", ("0 %", "50 %", "100 %")
        axes = Axis("true class", names=names), Axis("predicted class", names=names)
        panels.append(Grid(*axes, counts.astype(float), texts, scale, shares, bar=bar))
    note = "Shade: share of the true class's rows."
    return Plot("iris, mlp: confusion matrix", list(panels), [], [note])


def results(
    values: Callable[[float, int, int], float],
    rates: list[str],
    widths: list[str],
    seeds: int = 5,
    *,
    metric: str = "loss",
) -> sweeps.Results:
    """The results of a sweep over learning rates, widths and seeds. values: of (rate, width, seed); NaN diverged."""
    rows, job = [], 0
    for rate in rates:
        for width in widths:
            for seed in range(seeds):
                number = "" if len(rates) < 2 else f"optimizer.lr={rate} "
                given = values(float(rate), int(width), seed)
                record = {"job": str(job), "status": "finished" if np.isfinite(given) else "diverged"}
                record |= {"objective": repr(given) if np.isfinite(given) else ""}
                record |= {"command": f"ch12 train {number}model.width={width} seed={seed}"}
                rows.append(SweepRow.from_record(record))
                job += 1
    return sweeps.results_of(rows, metric="objective", label=f"validation {metric}", minimise=metric == "loss")


def bowl(rate: float, width: int, seed: int) -> float:
    """A loss with its minimum at a rate of 0.01, lower for larger widths."""
    noise = np.random.default_rng([seed, width]).normal(0, 0.02)
    return float(0.2 + 0.1 * np.log10(rate / 0.01) ** 2 + 1 / width + abs(noise))


def explosive(rate: float, width: int, seed: int) -> float:
    return NAN if rate >= 1 or (rate > 0.05 and seed > 2) else bowl(rate, width, seed)


RATES = ["0.0001", "0.001", "0.01", "0.1", "1"]
WIDTHS = ["4", "16", "64"]


def epochs(losses: list[float], *, accuracy: float = 0.5) -> list[dict[str, float]]:
    return [
        {"epoch": n, "train_loss": v, "train_accuracy": accuracy, "valid_loss": v * 1.2, "valid_accuracy": accuracy}
        for n, v in enumerate(losses, start=1)
    ]


def falling(n: int, start: float = 2.0, rate: float = 0.05) -> list[float]:
    return [start * float(np.exp(-rate * i)) + 0.05 for i in range(n)]


def distribution(values: list[float], metric: str = "accuracy") -> Plot:
    rows = [
        SweepRow(job=n, directory=str(n), status="finished", metrics={"test_accuracy": v}) for n, v in enumerate(values)
    ]
    found = sweeps.results_of(rows, metric="test_accuracy", label=f"test {metric}", minimise=metric == "loss")
    return sweeps.distribution(found, title=f"seeds: test {metric} of {count_of(len(values), 'run')}")


def field(names: tuple[str, ...], x: str, y: str) -> Plot:
    size, n = 60, len(names)
    grid = np.minimum(np.add.outer(np.arange(size), np.arange(size)) * n // (2 * size - 1), n - 1)
    draw = np.random.default_rng(2)
    points = []
    for part, count in (("train", 60), ("test", 20)):
        where = draw.uniform(0, 10, (count, 2))
        classes = np.minimum((where.sum(1) / 20 * n).astype(int), n - 1)
        points.append((part, where[:, 0], where[:, 1], classes))
    panel = Field(Axis(x), Axis(y), (0.0, 10.0), (0.0, 10.0), names, grid, np.full((size, size), 0.9), points)
    legend = ["Rows outlined in black: the test part, which was not trained on."]
    return Plot("toy, mlp: decision boundary", [panel], ["The other 12 features at the training rows' mean."], legend)


def heat(rows: tuple[str, ...], columns: tuple[str, ...], values: np.ndarray, label: str = "validation loss") -> Plot:
    changes = [(r, c) for r in rows for c in columns]
    texts = {"activation": [r for r, _ in changes], "optimizer": [c for _, c in changes]}
    flat = np.asarray(values, float).ravel()
    found = sweeps.Results(label, True, texts, flat, 0, list(range(len(flat))))
    return sweeps.heatmap(found, title="grid: validation loss by two keys", x="optimizer", y="activation")


def lines(name: str, count: int) -> Plot:
    x = np.arange(1.0, 31.0)
    drawn = [Line(f"{name}{n}", x, np.exp(-x / (5 + n)) + 0.1 * n, None, None) for n in range(count)]
    return Plot("Learning curves of many runs", [Lines(Axis("epoch", integer=True), Axis("loss"), drawn)])


def curves(*runs: list[float], names: list[str] | None = None, **options: object) -> Plot:
    groups = [
        (names[n] if names else f"run {n}" if len(runs) > 1 else "", [epochs(each)]) for n, each in enumerate(runs)
    ]
    return learning_curves(groups, title="iris, mlp: learning curves", **options)  # type: ignore[arg-type]


def slices(found: sweeps.Results, **options: object) -> Plot:
    return sweeps.slices(found, title="grid: validation loss by learning rate", **options)  # type: ignore[arg-type]


def random_search(count: int, words: int = 3) -> sweeps.Results:
    """The results of random rates, widths and activations; a rate over 0.5 diverges."""
    draw = np.random.default_rng(6)
    rates, widths = 10 ** draw.uniform(-4, 0, count), draw.integers(4, 65, count)
    names = [f"activation{n}" for n in draw.integers(0, words, count)]
    loss = 0.2 + 0.1 * np.log10(rates / 0.01) ** 2 + 1 / widths
    kept = np.flatnonzero(rates <= 0.5)
    keys = {"optimizer.lr": [f"{v:.4g}" for v in rates], "model.width": [str(v) for v in widths], "activation": names}
    texts = {key: [values[n] for n in kept] for key, values in keys.items()}
    lost = {key: [values[n] for n in np.flatnonzero(rates > 0.5)] for key, values in keys.items()}
    return sweeps.Results("validation loss", True, texts, loss[kept], count - len(kept), kept.tolist(), "", lost)


def conditional(count: int) -> sweeps.Results:
    """The results of random rates and momenta; one job of four, with another optimizer, has no momentum."""
    draw = np.random.default_rng(7)
    momenta = draw.uniform(0.5, 0.95, count)
    texts = {
        "optimizer": ["sgd" if n % 4 else "adam" for n in range(count)],
        "optimizer.lr": [f"{v:.6g}" for v in 10 ** draw.uniform(-4, 0, count)],
        "optimizer.momentum": [f"{v:.4g}" if n % 4 else "" for n, v in enumerate(momenta)],
    }
    return sweeps.Results("validation loss", True, texts, 0.2 + (momenta - 0.8) ** 2, 0, list(range(count)))


def names_of(length: int, count: int) -> tuple[str, ...]:
    return tuple((f"{n}" + "abcdefghij" * 8)[:length] for n in range(count))


def pictures(count: int, *caption: str, channels: int = 1, wide: int = 28) -> Plot:
    images = np.random.default_rng(1).random((count, channels, 28, wide))
    wrong = frozenset(range(0, count, 2))
    return Plot("cnn: predictions", [Pictures(images, [caption] * count, wrong, list(range(count)))], ["A note."])


def part_of(scores: np.ndarray, actual: np.ndarray) -> PredictedPart:
    """A part of two classes. scores: the probability of the second; actual: the true classes."""
    outputs = np.column_stack([1 - scores, scores])
    return PredictedPart(np.arange(len(scores)), actual.astype(float), outputs, (scores > 0.5).astype(np.int64))


def two_classes(kind: str, *rows: int, sure: bool = False, names: tuple[str, ...] = ("no", "yes")) -> Plot:
    """A plot of two classes. rows: of each part. sure: whether all probabilities are 0 or 1."""
    draw, parts = np.random.default_rng(3), {}
    for name, count in zip(("test", "valid", "train"), rows, strict=False):
        actual = np.arange(count) % 2
        scores = 1 / (1 + np.exp(-draw.normal(3 * actual - 1.5, 1.0)))
        parts[name] = part_of(actual.astype(float) if sure else scores, actual)
    facts = DataFacts(names, ("x1", "x2"), 2, "class")
    return predictions.PLOTS_OF_PARTS[kind](parts, facts, title=f"two classes, mlp: {kind}", place="run")


def residuals(actual: np.ndarray, predicted: np.ndarray, target: str = "y") -> Plot:
    part = PredictedPart(np.arange(len(actual)), actual, predicted[:, None], np.zeros(len(actual), np.int64))
    facts = DataFacts((), ("x",), 1, target)
    return predictions.residuals({"test": part, "train": part}, facts, title="points, mlp: residuals", place="run")


def errors(count: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    actual = np.random.default_rng(4).normal(10, 5, count)
    return actual, actual + np.random.default_rng(5).normal(0, spread, count)


def norms(gradients: list[float], weights: list[float]) -> Plot:
    rows = [
        {"epoch": n, "train_loss": 1.0, "grad_norm": g, "weight_norm": w}
        for n, (g, w) in enumerate(zip(gradients, weights, strict=True), start=1)
    ]
    return learning_curves([("", [rows])], title="iris, mlp: norms", metric="grad_norm,weight_norm")


def pair(values: Callable[[float, int, int], float], **keys: list[str]) -> Plot:
    loss = results(values, keys.get("rates", RATES), keys.get("widths", WIDTHS))
    seconds = loss._replace(label="seconds", values=np.geomspace(1, 300, len(loss.values)))
    return sweeps.pair(seconds, loss, title="grid: seconds against validation loss")


def rising(n: int, ceiling: float = 0.98) -> list[dict[str, float]]:
    """Epochs whose accuracy rises fast and then stays."""
    values = [ceiling - 0.88 * float(np.exp(-0.9 * i)) + 0.001 * (i % 3) for i in range(n)]
    return [{"epoch": i, "valid_accuracy": value} for i, value in enumerate(values, start=1)]


CASES: dict[str, Callable[[], Plot]] = {
    "confusion, eight names of 45 letters": partial(confusion, LONG),
    "confusion, three parts": partial(confusion, ("setosa", "versicolor", "virginica"), parts=3),
    "confusion, long names, three parts": partial(confusion, LONG, parts=3),
    "confusion, one class": partial(confusion, ("only",)),
    "confusion, two classes": partial(confusion, ("no", "yes"), rows=20_000),
    "confusion, ten digits": partial(confusion, tuple("0123456789")),
    "confusion, 50 classes": partial(confusion, tuple(f"kind {n}" for n in range(50))),
    "confusion, 50 long names": partial(confusion, names_of(40, 50)),
    "confusion, other scripts": partial(confusion, SCRIPTS),
    "confusion, names of one letter": partial(confusion, ("a", "b", "c")),
    "confusion, names of 80 letters": partial(confusion, names_of(80, 4)),
    "confusion, equal beginnings and ends": partial(confusion, tuple("a" * 40 + f"{n}" + "z" * 40 for n in range(5))),
    "confusion, counts of seven digits": partial(confusion, ("cat", "dog", "bird"), rows=5_000_000),
    "heat map, ordinary": lambda: sweeps.heatmap(results(bowl, RATES, WIDTHS), title="grid: validation loss by two keys"),
    "heat map, diverged": lambda: sweeps.heatmap(results(explosive, RATES, WIDTHS), title="grid: loss by two keys"),
    "heat map, one long value": partial(heat, ("relu", "x" * 70), ("sgd", "adam"), np.arange(4.0).reshape(2, 2)),
    "heat map, long values across": partial(heat, ("relu",), names_of(60, 5), np.arange(5.0).reshape(1, 5)),
    "heat map, four outliers": partial(
        heat, names_of(3, 8), names_of(2, 8),
        np.concatenate([[1e6, 1e7, 1e8, 3e9], np.linspace(0.2, 0.4, 60)]).reshape(8, 8),
    ),
    "heat map, 12 rates": partial(
        heat, ("relu", "tanh"), tuple(f"0.{'0' * (n % 4)}{n + 1}" for n in range(12)), np.linspace(0.1, 0.9, 24).reshape(2, 12)
    ),
    "heat map, 24 by 24": partial(heat, names_of(2, 24), names_of(3, 24), np.geomspace(0.01, 100, 576).reshape(24, 24)),
    "heat map, 12 decades": partial(heat, names_of(4, 4), names_of(4, 4), np.geomspace(1e-9, 1e3, 16).reshape(4, 4)),
    "heat map, mixed digits": partial(heat, ("a", "b"), ("c", "d"), np.array([[0.4, 0.55], [1.1, 1.0]])),
    "heat map, constant": partial(heat, ("a", "b"), ("c", "d"), np.ones((2, 2))),
    "heat map, one cell without runs": lambda: Plot(
        "t", [Grid(Axis("a", names=("1", "2")), Axis("b", names=("3", "4")), np.array([[1, NAN], [2, 3]]),
                   [["1", ""], ["2", "3"]], "loss")],
    ),
    "heat map, random search": lambda: sweeps.heatmap(random_search(60), title="search: validation loss by two keys"),
    "heat map, random search of 10,000": lambda: sweeps.heatmap(random_search(10_000), title="search: validation loss by two keys"),
    "heat map, numbers that some jobs lack": lambda: sweeps.heatmap(
        conditional(80), title="search", x="optimizer.momentum", y="optimizer"
    ),
    "heat map, 40 words": lambda: sweeps.heatmap(random_search(300, words=40), title="search", x="activation", y="model.width"),
    "boundary, long feature names": partial(
        field, ("no", "yes"), "the measured concentration of chloride in the upper layer of the soil (mg per litre)",
        "a feature whose name goes on and on and does not end before the eightieth letter or so",
    ),
    "boundary, 12 classes": partial(field, tuple(f"class {n}" for n in range(12)), "x1", "x2"),
    "boundary, 50 classes": partial(field, tuple(f"class {n}" for n in range(50)), "x1", "x2"),
    "boundary, classes with long names": partial(field, LONG, "petal length (cm)", "petal width (cm)"),
    "curves, one run": lambda: curves(falling(40)),
    "curves, one epoch": lambda: curves([0.7]),
    "curves, two epochs": lambda: curves([0.7, 0.6]),
    "curves, 100,000 epochs": lambda: curves(falling(100_000, rate=1e-4)),
    "curves, constant": lambda: curves([1.0] * 20),
    "curves, zero": lambda: curves([0.0] * 20),
    "curves, NaN and infinity": lambda: curves([2.0, 1.0, NAN, 0.5, INF, 0.4, -INF, 0.3]),
    "curves, 12 decades": lambda: curves(np.geomspace(1e6, 1e-6, 60).tolist()),
    "curves, tiny differences": lambda: curves((0.123456789 + np.arange(20) * 1e-12).tolist()),
    "curves, large numbers": lambda: curves([1e300, 1e200, 1e100, 1.0]),
    "curves, one run diverged": lambda: curves(
        falling(20), falling(20, rate=0.1), [2.0, 50.0, 1e9, 1e19, 1e28], diverged=[[None], [None], [6]],
        names=["lr=0.01", "lr=0.1", "lr=30"],
    ),
    "curves, runs that ended early": lambda: learning_curves(
        [(f"lr=0.{n}", [epochs(falling(10 * s, rate=0.02 * n + 0.002 * s)) for s in range(1, 6)]) for n in range(1, 4)], title="grid"
    ),
    "curves, many seeds": lambda: learning_curves(
        [(f"lr=0.{n}", [epochs(falling(30, rate=0.02 * n + 0.002 * s)) for s in range(10)]) for n in range(1, 5)], title="grid"
    ),
    "lines, eight long names": partial(lines, "optimizer=adam, activation=leaky_relu, model.width=64, scheduler=cosine", 8),
    "lines, eight names of one letter": partial(lines, "", 8),
    "curves, four epochs of falling norms": lambda: norms([900.0, 3.0, 2.0, 1.9], [1.0, 1.1, 1.15, 1.2]),
    "curves, norms of 60 epochs": lambda: norms((20 * np.geomspace(1, 1e-3, 60)).tolist(), np.linspace(1, 9, 60).tolist()),
    "curves, loss that falls at once": lambda: curves([2.3 * float(np.exp(-i)) + 0.05 + 0.003 * (i % 4) for i in range(100)]),
    "curves, accuracy that rises at once": lambda: learning_curves([("", [rising(100)])], title="iris", metric="valid_accuracy"),
    "curves, differences of 1e-12": lambda: learning_curves(
        [("", [[{"epoch": n, "valid_loss": 0.123456789 + n * 1e-12} for n in range(1, 21)]])], title="iris", metric="valid_loss"
    ),
    "curves, negative and large": lambda: curves([-1e6, 1e6, -5e5, 3e5, 0.0]),
    "roc, one part": lambda: two_classes("roc", 200),
    "roc, three parts": lambda: two_classes("roc", 60, 60, 180),
    "roc, perfect": lambda: two_classes("roc", 40, sure=True),
    "roc, 10,000 rows": lambda: two_classes("roc", 10_000),
    "calibration, one part": lambda: two_classes("calibration", 400, names=("no", LONG[0])),
    "calibration, three parts": lambda: two_classes("calibration", 60, 60, 180),
    "calibration, all sure": lambda: two_classes("calibration", 40, sure=True),
    "residuals, ordinary": lambda: residuals(*errors(300)),
    "residuals, none": lambda: residuals(np.arange(30.0), np.arange(30.0)),
    "residuals, 10,000 rows of a long target": lambda: residuals(*errors(10_000), target="the price of the house in the year of its sale"),
    "residuals, one row": lambda: residuals(np.array([1e9]), np.array([2e9])),
    "pair, ordinary": lambda: pair(bowl),
    "pair, one setting": lambda: pair(bowl, rates=["0.1"], widths=["4"]),
    "pair, 12 decades": lambda: pair(lambda r, w, s: 10 ** (12 * r) * (1 + s)),
    "history, ordinary": lambda: sweeps.history(results(bowl, RATES, WIDTHS), title="search: best validation loss so far"),
    "history, single runs": lambda: sweeps.history(conditional(80), title="search: best validation loss so far"),
    "history, 10,000 jobs": lambda: sweeps.history(conditional(10_000), title="search: best validation loss so far"),
    "lines over a key, ordinary": lambda: slices(results(bowl, RATES, WIDTHS), x="optimizer.lr", by="model.width"),
    "lines over a key, diverged": lambda: slices(results(explosive, RATES, WIDTHS), x="optimizer.lr", by="model.width"),
    "lines over a key, every run": lambda: slices(results(bowl, RATES, WIDTHS), x="optimizer.lr", by="model.width", every=True),
    "lines over a key, two seeds": lambda: slices(results(bowl, RATES, WIDTHS, 2), x="optimizer.lr", by="model.width"),
    "lines over a key, one seed": lambda: slices(results(bowl, RATES, WIDTHS, 1), x="model.width", by="optimizer.lr"),
    "lines over a key, nine lines": lambda: slices(
        results(bowl, RATES, [str(2**n) for n in range(9)], 3), x="optimizer.lr", by="model.width"
    ),
    "panels, three": lambda: slices(results(bowl, RATES, WIDTHS), x="optimizer.lr", facet="model.width"),
    "panels, nine with diverged runs": lambda: slices(
        results(explosive, RATES, [str(2**n) for n in range(9)], 4), x="optimizer.lr", facet="model.width"
    ),
    "slice, zero among rates": lambda: slices(
        results(lambda r, w, s: bowl(r + 0.001, w, s), ["0", *RATES], ["16"]), x="optimizer.lr"
    ),
    "slice, negative metric": lambda: slices(results(lambda r, w, s: -bowl(r, w, s) * 1e4, RATES, ["16"]), x="optimizer.lr"),
    "slice, all equal": lambda: slices(results(lambda r, w, s: 0.25, RATES, ["16"]), x="optimizer.lr"),
    "slice, numbers that some jobs lack": lambda: slices(conditional(12), x="optimizer.momentum", by="optimizer"),
    "slice, many numbers that some jobs lack": lambda: slices(conditional(80), x="optimizer.momentum"),
    "slice, ordinary": lambda: slices(results(bowl, RATES, ["16"])),
    "slice, some diverged": lambda: slices(results(explosive, RATES, ["16"])),
    "slice, other keys": lambda: slices(results(bowl, RATES, WIDTHS), x="optimizer.lr"),
    "slice, metric of many decades": lambda: slices(results(lambda r, w, s: 10 ** (12 * r) * (1 + s), RATES, ["4"])),
    "slice, outliers": lambda: slices(results(lambda r, w, s: 1e9 if s == 0 and r == 1 else bowl(r, w, s), RATES, ["16"])),
    "slice, 200 values": lambda: slices(
        results(bowl, [f"{v:.6g}" for v in np.geomspace(1e-5, 10, 200)], ["16"], 1), x="optimizer.lr"
    ),
    "slice, words": lambda: Plot("grid", [Lines(
        Axis("optimizer", names=("sgd", "adam", "adagrad", "rmsprop")), Axis("loss"),
        [Line("mean", np.arange(4.0), np.array([1.0, 2, 3, 2]), np.array([0.5, 1, 2, 1]), np.array([2.0, 3, 4, 3]), joined=False)],
    )]),
    "slice, 200 words": lambda: Plot("grid", [Lines(
        Axis("features", names=names_of(12, 200)), Axis("loss"), [Line("mean", np.arange(200.0), np.arange(200.0), joined=False)],
    )]),
    "slice, long words": lambda: Plot("grid", [Lines(
        Axis("features", names=LONG), Axis("loss"), [Line("mean", np.arange(8.0), np.arange(8.0), joined=False)],
    )]),
    "distribution, a thousand seeds of two values": lambda: distribution([0.98] * 999 + [0.96]),
    "distribution, one run": lambda: distribution([0.9]),
    "distribution, equal": lambda: distribution([0.9] * 50),
    "distribution, 10,000 runs": lambda: distribution(np.random.default_rng(1).normal(0.9, 0.01, 10_000).tolist()),
    "distribution, 30 distinct values": lambda: distribution(
        (np.random.default_rng(1).binomial(150, 0.9, 1000) / 150).tolist()
    ),
    "distribution, 12 decades": lambda: distribution(np.geomspace(1e-6, 1e6, 300).tolist(), "loss"),
    "distribution, one outlier": lambda: distribution([*np.linspace(-1, 1, 99).tolist(), 1e12], "score"),
    "importance": lambda: sweeps.importance(results(bowl, RATES, WIDTHS), title="grid: what loss depends on"),
    "bars, 40 with long names": lambda: Plot("Importance", [Bars(
        "share of the variance", [f"dataset.pipeline.steps.normalise.parameter_{n}" for n in range(40)],
        np.linspace(1, 0, 40), [f"{v:.0%}" for v in np.linspace(1, 0, 40)],
    )]),
    "parallel, ordinary": lambda: parallel_coordinates(results(bowl, RATES, WIDTHS), title="grid: validation loss by all keys"),
    "parallel, numbers that some jobs lack": lambda: parallel_coordinates(conditional(80), title="search"),
    "parallel, uneven values": lambda: parallel_coordinates(results(bowl, ["0.001", "0.01", "1e30"], WIDTHS), title="grid"),
    "parallel, diverged": lambda: parallel_coordinates(results(explosive, RATES, WIDTHS), title="grid: validation loss"),
    "parallel, 200 values": lambda: parallel_coordinates(
        results(bowl, [f"{v:.6g}" for v in np.geomspace(1e-5, 10, 200)], ["16"], 1), title="grid"
    ),
    "parallel, nine long axes": lambda: Plot("grid", [Parallel(
        tuple(ParallelAxis(name, ((0.0, "1e-12"), (0.5, "a_value_of_letters"), (1.0, "1")), ("1e-12", "1")) for name in names_of(50, 9)),
        np.random.default_rng(1).random((300, 9)), np.linspace(0, 1, 300), [f"job {n}" for n in range(300)], "colour: loss",
    )]),
    "pictures, one": lambda: pictures(1, "shirt 91%"),
    "pictures, 24 with long names": lambda: pictures(24, f"{LONG[0]} 91%", f"is {LONG[1]}", channels=3, wide=40),
    "hostile names": lambda: Plot("$x^2$ \x1b[31m <script>", [Lines(
        Axis("$\\frac{"), Axis("a\nb\x00"), [Line("$$$", np.arange(3.0), np.arange(3.0)), Line("\ud83d😀", np.arange(3.0), np.ones(3))],
    )], ["A note. " * 60]),
    "a long title": lambda: Plot("A title that says everything about the figure, and then repeats it. " * 4, curves(falling(5)).panels),
    "histogram, a hundred": lambda: Plot("seeds", [Histogram(
        Axis("test accuracy"), "runs", np.linspace(0.8, 1, 13), np.array([1, 3, 9, 20, 40, 70, 105, 80, 50, 30, 8, 2]),
        [("mean", 0.913), ("median", 0.914), ("best", 0.99)],
    )]),
}  # fmt: skip
