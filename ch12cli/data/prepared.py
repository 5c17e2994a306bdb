"""A data set ready for training: in parts, and scaled."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ch12cli.data.scaling import Method, Scaling, fit, scaling_problems
from ch12cli.data.split import Split, split_problems
from ch12cli.data.split import split as split_rows
from ch12cli.data.table import Floats, Rows, Table
from ch12cli.errors import InputError


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a table: x scaled, (rows, features), y (rows,), and their row numbers in the table, (rows,)."""

    x: Floats
    y: npt.NDArray[Any]
    rows: Rows


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table, its parts (None for one without rows), and the scaling, which the training part alone has settled."""

    table: Table
    scaling: Scaling
    train: Part
    valid: Part | None
    test: Part | None

    @property
    def features(self) -> Floats:
        """The table's features, (rows, features), not scaled, with what stands for missing values in their place."""
        return self.scaling.filled(self.table.features)


def prepare(
    table: Table,
    *,
    test_size: int | float = 0.0,
    valid_size: int | float = 0.0,
    split: Split = "random",
    split_seed: int = 1,
    scaling: Method = "none",
) -> Prepared:
    """table in parts and scaled, in the table's own type; the arguments are those of split and of scaling's fit."""
    problems = split_problems(test_size=test_size, valid_size=valid_size, split=split, split_seed=split_seed)
    problems += scaling_problems(scaling)
    if problems:
        raise InputError(problems)
    rows = split_rows(table, test_size=test_size, valid_size=valid_size, split=split, split_seed=split_seed)
    fitted = fit(table.features[rows.train], scaling, table.missing)
    return Prepared(
        table,
        fitted,
        train=_part(table, fitted, rows=rows.train),
        valid=_part(table, fitted, rows=rows.valid) if len(rows.valid) else None,
        test=_part(table, fitted, rows=rows.test) if len(rows.test) else None,
    )


def _part(table: Table, scaling: Scaling, *, rows: Rows) -> Part:
    return Part(scaling.apply(table.features[rows]), table.target[rows], rows)
