"""A data set ready for training: split into parts, and scaled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.scaling import (
    CHUNK,
    Method,
    Scaling,
    TargetMethod,
    TargetScaling,
    fit_scaling,
    fit_target_scaling,
    scaling_problems,
    target_scaling_problems,
)
from ch12cli.data.split import (
    Parts,
    Split,
    fold_problems,
    rare_class_notes,
    split_problems,
    split_rows,
    unlearned_notes,
    without_unlearned_levels,
)
from ch12cli.data.streaming.lazy_rows import Features, LazyRows, SelectedRows, as_they_are, index_type
from ch12cli.data.table import Floats, RowIndices, Table
from ch12cli.data.weights import ClassWeight, class_weights
from ch12cli.errors import InputError, Problem


@dataclass(frozen=True, eq=False)
class DataPart:
    """A part of a table. x: scaled, (rows, features); y: (rows,); rows: their indices in the table, (rows,).

    x is lazy if the features of the table are. weights: how much each row counts in the loss, (rows,); None: all alike.
    """

    x: Features
    y: npt.NDArray[Any]
    rows: RowIndices
    weights: Floats | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table with its parts, None for an empty one. scaling: fitted to the training part. notes: for the user.

    class_weights: of the loss, one for each class; None: all alike. target_scaling: of the values to learn, fitted to
    the training part; None: they are learned as they are. The parts hold them as they are.
    """

    table: Table
    scaling: Scaling
    train: DataPart
    valid: DataPart | None
    test: DataPart | None
    class_weights: tuple[float, ...] | None = None
    target_scaling: TargetScaling | None = None
    notes: tuple[str, ...] = ()

    @property
    def features(self) -> Floats:
        """The table's features, (rows, features), unscaled, with missing values filled in. Lazy ones are read."""
        return self.scaling.filled(self.table.features[:])

    def learned(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Targets of rows as the network learns them, (rows,): scaled, if they are. y: as they are in the table."""
        return y if self.target_scaling is None else self.target_scaling.apply(y.astype(np.float64))


def prepare(
    table: Table,
    *,
    test_size: int | float = 0.0,
    valid_size: int | float = 0.0,
    split: Split = "random",
    split_seed: int = 1,
    folds: int | None = None,
    fold: int | None = None,
    scaling: Method = "none",
    class_weight: ClassWeight = None,
    target_scaling: TargetMethod = "none",
) -> Prepared:
    """The table split and scaled, in its own dtype, without features of categories that no training row has.

    The arguments are those of split_rows, fit_scaling, class_weights and fit_target_scaling.
    InputError with everything that is wrong with them.
    """
    problems = fold_problems(folds, fold) + split_problems(
        test_size=test_size, valid_size=valid_size, split=split, split_seed=split_seed
    )
    problems += scaling_problems(scaling) + target_scaling_problems(target_scaling, table.classes)
    if isinstance(table.features, LazyRows) and table.features.sequential:
        problems += _sequential_problems(test_size=test_size, valid_size=valid_size, folds=folds, scaling=scaling)
        split = "ordered"
    if problems:
        raise InputError(problems)
    rows = split_rows(
        table,
        test_size=test_size,
        valid_size=valid_size,
        split=split,
        split_seed=split_seed,
        folds=folds,
        fold=fold,
    )
    if isinstance(table.features, LazyRows):
        rows = Parts(*(part.astype(index_type(table.rows)) for part in rows))
    table, level_notes = without_unlearned_levels(table, rows.train, split)
    fitted = fit_scaling(_fitted_to(table, rows.train), scaling, table.missing)
    return Prepared(
        table,
        fitted,
        train=_part(table, fitted, rows=rows.train),
        valid=_part(table, fitted, rows=rows.valid) if len(rows.valid) else None,
        test=_part(table, fitted, rows=rows.test) if len(rows.test) else None,
        target_scaling=fit_target_scaling(table.target[rows.train], target_scaling),
        class_weights=class_weights(table, table.target[rows.train], class_weight),
        notes=(
            *table.notes,
            *unlearned_notes(table, rows, split),
            *level_notes,
            *rare_class_notes(table, rows, split, folds),
        ),
    )


def _sequential_problems(**settings: object) -> list[Problem]:
    """A problem for each setting that rows in their own order do not allow."""
    none = ("none", None, 0)
    hints = {"test_size": "give dataset.test", "scaling": "scale them in the data set"}
    return [
        Problem(f"dataset.{name}", str(value), "the data set is iterable, and its rows cannot be chosen", hint)
        for name, value in settings.items()
        if value not in none and (hint := f"leave it out, or {hints.get(name, 'give dataset.valid')}")
    ]


def _fitted_to(table: Table, rows: RowIndices) -> Features:
    """The features of the training rows that scaling is fitted to, in the order of the table if they are many."""
    if table.fitted_rows is not None and len(rows) > table.fitted_rows:
        rows = np.sort(rows)[np.linspace(0, len(rows) - 1, table.fitted_rows).round().astype(np.int64)]
    if len(rows) * table.features.shape[1] > CHUNK:
        rows = np.sort(rows)
    if isinstance(table.features, LazyRows):
        return SelectedRows(table.features, rows, as_they_are)
    return table.features[rows]


def _part(table: Table, scaling: Scaling, *, rows: RowIndices) -> DataPart:
    weights = None if table.weights is None else table.weights[rows]
    if weights is not None and not weights.any():
        raise InputError(f"{table.source}: all {len(rows)} rows of a part have weight 0; choose another split")
    features = table.features
    if isinstance(features, LazyRows):
        change = as_they_are if scaling.changes_nothing else scaling.apply
        return DataPart(SelectedRows(features, rows, change), table.target[rows], rows, weights)
    return DataPart(scaling.apply(features[rows]), table.target[rows], rows, weights)
