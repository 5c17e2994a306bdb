"""metrics.csv from rows and from columns."""

import math

import numpy as np

from ch12cli.files.metrics_csv import columns_to_csv, to_csv


def test_columns_give_the_bytes_of_the_rows() -> None:
    values = np.random.default_rng(1).normal(size=(3, 200)) * 10.0 ** np.arange(-100, 100)
    values[0, :5] = [0.0, -0.0, math.inf, -math.inf, math.nan]
    values[1] = 0.001
    names = ["train_loss", "lr", "seconds"]
    for epochs in (200, 1, 0):
        rows = [[epoch + 1, *values[:, epoch].tolist()] for epoch in range(epochs)]
        columns = {name: column[:epochs].tobytes() for name, column in zip(names, values, strict=True)}
        expected = to_csv(["epoch", *names], rows) if epochs else b""
        assert columns_to_csv(columns, epochs) == expected
