"""Studies: what is asked, how trials are ranked, and that the default sampler finds better values than chance."""

import math

import numpy as np
import pytest

from ch12cli.search.optuna_samplers import missing_packages
from ch12cli.search.samplers import DRAWERS, Kernels
from ch12cli.search.settings import SAMPLERS
from ch12cli.search.space import Condition, Interval, Options, Space, WholeNumbers
from ch12cli.search.study import Study, batch_size, summary_of_values
from ch12cli.search.trial import Status, Trial, by_values

UNIT = Space.of([Interval("x", 0.0, 1.0), Interval("y", 0.0, 1.0)])


def complete(value: float, *others: float, x: float = 0.5) -> Trial:
    return Trial({"x": repr(x), "y": "0.5"}, "complete", (value, *others))


def test_trials_are_ranked_by_value_then_by_the_epochs_they_reached() -> None:
    trials = [
        Trial({"x": "0.1", "y": "0.5"}, "pruned", (0.1,), 5),
        Trial({"x": "0.2", "y": "0.5"}, "diverged"),
        complete(0.9, x=0.3),
        Trial({"x": "0.4", "y": "0.5"}, "pruned", (0.7,), 15),
        Trial({"x": "0.5", "y": "0.5"}, "failed"),
        complete(0.2, x=0.6),
        Trial({"x": "0.7", "y": "0.5"}, "pruned", (0.3,), 5 + 10),
    ]
    study = Study(UNIT)
    study.add(trials)
    assert [trial.setting["x"] for trial in study.ranked()] == ["0.6", "0.3", "0.7", "0.4", "0.1", "0.2"]
    assert study.best is not None
    assert study.best.values == (0.2,)


def test_with_several_objectives_those_that_no_other_beats_come_first() -> None:
    values = [(3.0, 3.0), (1.0, 4.0), (4.0, 1.0), (2.0, 2.0), (5.0, 5.0)]
    ranked = [trial.values for trial in by_values([complete(*each) for each in values])]
    assert set(ranked[:3]) == {(1.0, 4.0), (4.0, 1.0), (2.0, 2.0)}
    assert ranked[3:] == [(3.0, 3.0), (5.0, 5.0)]


@pytest.mark.parametrize(
    "sampler", [*DRAWERS, "optuna_tpe", "nsgaii", "cmaes", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_a_study_that_is_rebuilt_from_its_trials_asks_the_same(sampler: str) -> None:
    whole, rebuilt = (Study(UNIT, SAMPLERS[sampler], seed=3, startup=8) for _ in range(2))
    for _ in range(4):
        settings = whole.ask(4)
        whole.add(Trial(each, "complete", (float(each["x"]),)) for each in settings)
    rebuilt.add(whole.trials)
    assert rebuilt.ask(4) == whole.ask(4)
    other = Study(UNIT, SAMPLERS[sampler], seed=4, startup=8)
    other.add(whole.trials)
    assert other.ask(4) != whole.ask(4)


def test_a_finite_space_is_asked_once_and_to_its_end() -> None:
    space = Space.of(
        [Options("optimizer", ("sgd", "adam")), Options("momentum", ("0", "0.5", "0.9"), ordered=True)],
        {"momentum": Condition("optimizer", ("sgd",))},
    )
    study = Study(space)
    settings = study.ask(100)
    assert len(settings) == 4  # adam, and sgd with three values
    study.add(Trial(each, "failed") for each in settings)
    assert study.ask(100) == []


def test_start_points_come_first_and_constraints_hold() -> None:
    start = {"x": "0.25", "y": "0.75"}
    study = Study(UNIT, start=[start], allows=lambda setting: float(setting["x"]) < float(setting["y"]))
    settings = study.ask(64)
    assert settings[0] == start
    assert len(settings) == 64
    assert all(float(setting["x"]) < float(setting["y"]) for setting in settings)
    assert start not in study.ask(1) or not study.trials


@pytest.mark.parametrize("structures", [1, 2, 4])
def test_a_batch_has_few_structures_with_several_settings_each(structures: int) -> None:
    options = [Options("activation", ("a", "b", "c")), Options("width", ("4", "8", "16"), ordered=True)]
    space = Space.of([Interval("lr", 1e-4, 1.0, log=True), *options])
    study = Study(space, structural={"activation", "width"}, structures=structures)
    for _ in range(3):  # by Sobol, then by TPE
        asked = study.ask(20)
        assert len({(each["activation"], each["width"]) for each in asked}) <= structures
        assert len({each["lr"] for each in asked}) == 20
        study.add([Trial(each, "complete", (abs(float(each["lr"]) - 0.01),)) for each in asked])


def test_the_density_of_kernels_is_one_in_all() -> None:
    rng = np.random.default_rng(1)
    centers = np.column_stack([rng.uniform(0.4, 0.6, 5), rng.integers(3, size=5) / 3 + 1 / 6, rng.uniform(0.4, 0.6, 5)])
    centers[2, 2] = math.nan
    kernels = Kernels(centers, np.array([0, 3, 0]))
    points = rng.random((200_000, 3))
    assert np.exp(kernels.log_density(points)).mean() == pytest.approx(1, abs=0.03)  # but for tails beyond the cube
    drawn = kernels.draw(10_000, rng)
    assert ((drawn >= 0) & (drawn <= 1)).all()


MIXED = Space.of(
    [
        Interval("lr", 1e-5, 1.0, log=True),
        WholeNumbers("width", 1, 256, log=True),
        Options("optimizer", ("a", "b", "c", "d")),
        Interval("momentum", 0.0, 1.0),
        Options("steps", ("1", "2", "4"), ordered=True),
    ],
    {"momentum": Condition("optimizer", ("a", "b"))},
)


def quality(sampler: str, seed: int) -> float:
    """The best value of 128 trials of a function of numbers, categories and a conditional parameter."""
    study = Study(MIXED, SAMPLERS[sampler], seed=seed)

    def value(setting: dict[str, str]) -> float:
        distance = (math.log10(float(setting["lr"])) + 2.5) ** 2 + math.log(float(setting["width"]) / 32) ** 2
        offset = {"a": 0.0, "b": 0.3, "c": 0.5, "d": 1.0}[setting["optimizer"]]
        return distance + offset + 4 * (float(setting.get("momentum", 0.9)) - 0.9) ** 2

    while len(study.trials) < 128:
        settings = study.ask(16)
        study.add(Trial(each, "complete", (value(dict(each)),)) for each in settings)
    assert study.best is not None
    return study.best.values[0]


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "share"), [("tpe", 0.3), ("optuna_tpe", 0.5), ("nsgaii", 0.5), ("cmaes", 0.6)])
def test_a_sampler_that_learns_finds_better_values_than_chance(sampler: str, share: float) -> None:
    learned, chance = (np.median([quality(each, seed) for seed in range(7)]) for each in (sampler, "random"))
    assert learned < share * chance


@pytest.mark.parametrize("sampler", ["optuna_tpe", "nsgaii", "cmaes", pytest.param("gp", marks=pytest.mark.slow)])
def test_a_sampler_of_optuna_takes_trials_of_every_kind(sampler: str) -> None:
    study = Study(MIXED, SAMPLERS[sampler], startup=8)
    kinds: list[Status] = ["complete", "complete", "pruned", "diverged", "failed"]
    study.earlier = [Trial(study.ask(1)[0], "complete", (0.5,))]
    for _ in range(3):
        settings = study.ask(10)
        assert len(settings) == 10
        assert all(MIXED.setting(MIXED.point(each)) == each for each in settings)
        for index, setting in enumerate(settings):
            status = kinds[index % len(kinds)]
            values = (float(setting["lr"]),) if status in ("complete", "pruned") else ()
            study.add([Trial(setting, status, values, epochs=index)])


def test_a_sampler_whose_packages_are_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [str(each) for each in missing_packages("gp")] == [
        "search.sampler=gp: optuna, scipy is not installed: pip install 'ch12[search]'; "
        "search.sampler=tpe needs no package"
    ]
    assert missing_packages("tpe") == []


def test_a_trial_of_several_seeds_has_their_mean_median_or_bound() -> None:
    values = [1.0, 2.0, 6.0]
    assert summary_of_values(values, "mean") == 3
    assert summary_of_values(values, "median") == 2
    assert summary_of_values(values, "bound") == pytest.approx(3 + math.sqrt(7) / math.sqrt(3))
    assert summary_of_values([4.0], "bound") == 4


def test_a_batch_is_an_eighth_of_the_trials_within_bounds() -> None:
    assert [batch_size(trials) for trials in (1, 128, 512, 10_000)] == [16, 16, 64, 256]
