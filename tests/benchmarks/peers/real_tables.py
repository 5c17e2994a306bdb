"""Writes real tables of scikit-learn and statsmodels as CSV files: real_tables.py FOLDER SPLIT

Each is shuffled, and has its target last. SPLIT: the seed of the shuffle, which decides the last rows, those of the
test. Prints a line of JSON for each: name, kind (classes or values), rows.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn.datasets as sk
import statsmodels.api as sm

folder, split = Path(sys.argv[1]), int(sys.argv[2])


def bunch(load: object) -> pd.DataFrame:
    found = load(as_frame=True)
    return found.data.assign(target=found.target)


def stats(name: str, target: str, drop: tuple[str, ...] = ()) -> pd.DataFrame:
    table = getattr(sm.datasets, name).load_pandas().data.drop(columns=list(drop)).dropna()
    return table.assign(target=table[target]).drop(columns=target)


def votes() -> pd.DataFrame:
    return stats("anes96", "vote")


def affairs() -> pd.DataFrame:
    table = stats("fair", "affairs")
    return table.assign(target=(table["target"] > 0).astype(int))


def choices() -> pd.DataFrame:
    table = sm.datasets.modechoice.load_pandas().data
    return table.assign(target=table["choice"].astype(int)).drop(columns=["choice", "individual"])


TABLES = {
    "iris": ("classes", lambda: bunch(sk.load_iris)),
    "wine": ("classes", lambda: bunch(sk.load_wine)),
    "breast_cancer": ("classes", lambda: bunch(sk.load_breast_cancer)),
    "digits": ("classes", lambda: bunch(sk.load_digits)),
    "anes96": ("classes", votes),
    "fair": ("classes", affairs),
    "modechoice": ("classes", choices),
    "diabetes": ("values", lambda: bunch(sk.load_diabetes)),
    "star98": ("values", lambda: stats("star98", "NABOVE", ("NBELOW",))),
    "randhie": ("values", lambda: stats("randhie", "mdvis")),
}

for name, (kind, make) in TABLES.items():
    table = make().sample(frac=1.0, random_state=split)
    if kind == "classes":
        table["target"] = "class " + table["target"].astype(int).astype(str)
    table.columns = [str(column).replace(" ", "_").replace("(", "").replace(")", "") for column in table.columns]
    table = table.astype({column: np.float64 for column in table.columns if column != "target"})
    table.to_csv(folder / f"{name}.csv", index=False)
    print(json.dumps({"name": name, "kind": kind, "rows": len(table)}))
