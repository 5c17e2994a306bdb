"""Weights of classes: as given, or so that all classes of the training part count alike."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.table import Table, counts_of
from ch12cli.data.text_file import count_with_noun
from ch12cli.errors import InputError, Problem, in_list
from ch12cli.files.plain_values import is_finite_number

ClassWeight = str | Sequence[float] | Mapping[str, float] | None
KEY = "dataset.class_weight"


def class_weights(table: Table, train: npt.NDArray[Any], given: ClassWeight) -> tuple[float, ...] | None:
    """The weight of each class, or None if none is given. train: the class numbers of the training rows, (rows,).

    given: balanced, as in scikit-learn: rows / (classes * rows of the class), over the classes that training rows have;
    the others weigh 1. A number for each class in the order of the classes, or by name, where the others weigh 1.
    InputError for a regression, and for numbers and names that do not fit the classes.
    """
    if given is None:
        return None
    if table.class_names is None:
        raise InputError(Problem(KEY, None, "is for classes, and the data set has values", "leave it out"))
    if given == "balanced":
        counts = counts_of(train, table.classes)
        present = counts > 0
        balanced = len(train) / (np.count_nonzero(present) * np.where(present, counts, 1))
        return tuple(np.where(present, balanced, 1.0).tolist())
    found: list[Any] = _by_name(table.class_names, given) if isinstance(given, Mapping) else list(given)
    if len(found) != table.classes:
        rule = f"has {count_with_noun(len(found), 'number')}, and the data set has {table.classes} classes"
        raise InputError(
            Problem(
                KEY, None, rule, f"give one for each of {', '.join(map(in_list, table.class_names))}, in this order"
            )
        )
    if not all(is_finite_number(weight) and weight > 0 for weight in found):
        raise InputError(Problem(KEY, None, "must be numbers greater than 0"))
    return tuple(map(float, found))


def _by_name(names: Sequence[str], given: Mapping[str, float]) -> list[float]:
    """The number of each class, 1 for a class that is not named."""
    weights = {str(name): weight for name, weight in given.items()}
    problems = []
    for unknown in [name for name in weights if name not in names]:
        near = get_close_matches(unknown, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(names)}"
        problems.append(Problem(KEY, None, f"there is no class {unknown}", hint))
    if problems:
        raise InputError(problems)
    return [weights.get(name, 1.0) for name in names]
