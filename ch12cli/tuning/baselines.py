"""Baselines on the same parts of the data as a tuned network: mean or majority, linear, and scikit-learn's models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from ch12cli.run.task import Task

Floats = NDArray[np.float64]
Predict = Callable[[Floats], NDArray[Any]]

RIDGE = 1e-3  # of the linear model, relative to the number of rows
MOST_ROWS = 20_000  # that logistic regression and scikit-learn's models are fitted to; more would take minutes
ITERATIONS = 100  # of logistic regression, as scikit-learn's default


@dataclass(frozen=True)
class Baseline:
    """A simple model. valid, test: its accuracy, or R² for values; None without that part."""

    name: str
    valid: float | None
    test: float | None


def baselines(task: Task, folds: Sequence[Task] = ()) -> list[Baseline]:
    """Returns the baselines for a task. Those of scikit-learn are left out where it is not installed.

    folds: the tasks of the folds of a cross-validation, over which the simple models have their mean in place of a
    validation part.
    """
    x, y = flat(np.asarray(task.data.train.x)), task.data.train.y
    found = [of_task(name, predict, task) for name, predict in simple_models(x, y, task)]
    if folds:
        by_fold = [[score(model, one.data.valid, one) for _, model in models_of_fold(one)] for one in folds]
        means = np.array(by_fold, np.float64).mean(0).tolist()
        found = [replace(one, valid=valid) for one, valid in zip(found, means, strict=True)]
    if find_spec("sklearn") is not None and len(y) <= MOST_ROWS and (task.data.valid or task.data.test):
        found += [of_task(name, model.fit(x, y).predict, task) for name, model in sklearn_models(task)]
    return found


def of_task(name: str, predict: Predict, task: Task) -> Baseline:
    return Baseline(name, *(score(predict, part, task) for part in (task.data.valid, task.data.test)))


def simple_models(x: Floats, y: NDArray[Any], task: Task) -> list[tuple[str, Predict]]:
    if task.classes:
        return [simplest(y, task), ("logistic regression", logistic_regression(x, y, classes=task.classes))]
    return [simplest(y, task), ("linear model", least_squares(x, y))]


def models_of_fold(task: Task) -> list[tuple[str, Predict]]:
    return simple_models(flat(np.asarray(task.data.train.x)), task.data.train.y, task)


def flat(x: NDArray[Any]) -> Floats:
    return x.reshape(len(x), -1).astype(np.float64)


def simplest(y: NDArray[Any], task: Task) -> tuple[str, Predict]:
    """Returns the most frequent class, or the mean, as a model."""
    value = np.bincount(y.astype(np.int64)).argmax() if task.classes else y.mean()
    return "most frequent class" if task.classes else "mean", lambda rows: np.full(len(rows), value)


def least_squares(x: Floats, y: NDArray[Any]) -> Predict:
    """Returns the least-squares fit of the values, with a small ridge."""
    design = with_ones(x)
    weights = np.linalg.solve(design.T @ design + RIDGE * len(x) * np.eye(design.shape[1]), design.T @ y)
    return lambda rows: with_ones(rows) @ weights


def logistic_regression(x: Floats, y: NDArray[Any], *, classes: int) -> Predict:
    """Returns logistic regression with the penalty of scikit-learn's default, half the sum of the squared weights."""
    step = -(-len(x) // MOST_ROWS)
    design, target = torch.from_numpy(with_ones(x[::step])), torch.from_numpy(y[::step].astype(np.int64))
    weights = torch.zeros(design.shape[1], classes, dtype=torch.float64, requires_grad=True)  # the last row: biases
    optimizer = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(design @ weights, target, reduction="sum") + (weights[:-1] ** 2).sum() / 2
        loss.backward()
        return loss

    optimizer.step(objective)
    found = weights.detach().numpy()
    return lambda rows: (with_ones(rows) @ found).argmax(1)


def with_ones(x: Floats) -> Floats:
    return np.column_stack([x, np.ones(len(x))])


def sklearn_models(task: Task) -> list[tuple[str, Any]]:
    """Returns scikit-learn's network and boosted trees with their defaults; the network learns scaled values."""
    import warnings

    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    warnings.simplefilter("ignore", ConvergenceWarning)
    network, trees = MLPClassifier(random_state=1), HistGradientBoostingClassifier(random_state=1)
    if not task.classes:
        network = TransformedTargetRegressor(MLPRegressor(random_state=1), transformer=StandardScaler())
        trees = HistGradientBoostingRegressor(random_state=1)
    return [("scikit-learn's network", network), ("scikit-learn's boosted trees", trees)]


def score(predict: Predict, part: Any, task: Task) -> float | None:
    """Returns the accuracy on a part of the data, or R² for values; None without that part."""
    if part is None:
        return None
    found, expected = predict(flat(np.asarray(part.x))), part.y
    if task.classes:
        return float((found == expected).mean())
    return float(1 - ((found - expected) ** 2).sum() / ((expected - expected.mean()) ** 2).sum())
