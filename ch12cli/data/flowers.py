"""Fisher's iris flowers, which ch12 ships.

Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936), 179-188;
UCI Machine Learning Repository, https://doi.org/10.24432/C56C76. iris.csv holds the values of scikit-learn's copy,
which follows Fisher's paper; UCI's file differs from it in the 35th and the 38th flower.
"""

import csv
from pathlib import Path

import numpy as np

from ch12cli.data.table import Table
from ch12cli.errors import MachineError

IRIS_FILE = Path(__file__).with_name("iris.csv")  # lengths and widths in cm


def iris() -> Table:
    """150 flowers of three species. features: (150, 4) float64, length and width of sepal and petal in cm.

    MachineError if the file cannot be read.
    """
    try:
        with IRIS_FILE.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
    except OSError as error:
        raise MachineError(f"{IRIS_FILE}: {error.strerror}; it is part of ch12: install ch12 again") from None
    species = tuple(dict.fromkeys(line[-1] for line in lines))  # in the file's order
    return Table(
        np.array([line[:-1] for line in lines], dtype=np.float64),
        np.array([species.index(line[-1]) for line in lines]),
        feature_names=tuple(header[:-1]),
        target_name=header[-1],
        class_names=species,
        source="Iris flowers, R. A. Fisher 1936 (UCI, as in scikit-learn)",
        unit="cm",
    )
