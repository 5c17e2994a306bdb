"""The reference is torch.optim.lr_scheduler, driven step by step; each run of a stack against the run alone."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from ch12cli.errors import InputError
from ch12cli.training import schedules
from ch12cli.training.schedules import Constant, Cosine, OneCycle, ReduceOnPlateau, Schedule, Step

CONF = Path(__file__).parents[2] / "conf" / "scheduler"
EPOCHS = 45
KINDS = {"none": Constant, "step": Step, "cosine": Cosine, "one_cycle": OneCycle, "reduce_on_plateau": ReduceOnPlateau}


def metrics(seed: int, epochs: int = EPOCHS) -> np.ndarray:
    """(epochs,): a validation loss that falls, wavers, stalls and once is no number."""
    noise = np.random.RandomState(seed).normal(size=epochs)
    values = 1 / (1 + np.arange(epochs) // 7) + 0.02 * noise
    values[9] = np.nan
    return values


def all_rates(schedule: Schedule, observed: np.ndarray | None = None, *, first: int = 0) -> np.ndarray:
    """(epochs, steps, R), as the loop asks for them. observed: (epochs, R)."""
    rates = []
    for epoch in range(first, schedule.epochs):
        rates.append(schedule.learning_rates(epoch))
        schedule.observe(np.zeros(rates[-1].shape[1]) if observed is None else observed[epoch])
    return np.stack(rates)


def torch_optimizer(lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def torch_rates(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int, observed: Any = None) -> np.ndarray:
    """The rate of each step or epoch, (steps,). observed: the metric after each, where the scheduler wants one."""
    rates = [optimizer.param_groups[0]["lr"]]
    for step in range(steps - 1):
        optimizer.step()
        scheduler.step(*([] if observed is None else [observed[step]]))
        rates.append(optimizer.param_groups[0]["lr"])
    return np.array(rates)


def close(actual: np.ndarray, expected: np.ndarray, relative: float = 1e-12) -> None:
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=0)


def test_constant_is_the_rate_at_every_step() -> None:
    rates = Constant(0.3, epochs=4, steps_per_epoch=5).learning_rates(3)
    assert rates.shape == (5, 1)
    assert np.all(rates == 0.3)
    assert rates.strides[0] == 0  # a view, not a copy for each step


@pytest.mark.parametrize("values", [{}, {"step_size": 1, "gamma": 0.9}, {"step_size": 7, "gamma": 1.5}])
def test_step_equals_torchs(values: dict[str, Any]) -> None:
    optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, **({"step_size": 30} | values))
    rates = all_rates(Step(0.1, epochs=EPOCHS, steps_per_epoch=3, **values))
    assert rates.shape == (EPOCHS, 3, 1)
    np.testing.assert_array_equal(rates[:, 0, 0], torch_rates(optimizer, scheduler, EPOCHS))
    assert np.all(rates == rates[:, :1])


def test_step_drops_at_multiples_of_step_size() -> None:
    rates = all_rates(Step(1.0, epochs=9, steps_per_epoch=1, step_size=3, gamma=0.5))
    assert rates[:, 0, 0].tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("values", [{}, {"T_max": 20}, {"T_max": 13, "eta_min": 0.002}, {"eta_min": 0.05}])
def test_cosine_equals_torchs(values: dict[str, Any]) -> None:
    optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **({"T_max": EPOCHS} | values))
    rates = all_rates(Cosine(0.1, epochs=EPOCHS, steps_per_epoch=2, **values))[:, 0, 0]
    np.testing.assert_array_equal(rates, torch_rates(optimizer, scheduler, EPOCHS))


def test_drawn_values_of_stacked_and_continued_schedules_have_the_bits_of_torch() -> None:
    draw, runs = np.random.default_rng(3), 12
    lr, gamma, eta_min = 10 ** draw.uniform(-6, 0, runs), draw.uniform(0.1, 1.1, runs), 10 ** draw.uniform(-9, -6, runs)
    size, period = draw.integers(1, 20, runs).astype(float), draw.integers(1, 60, runs).astype(float)
    step: dict[str, Any] = {"lr": lr, "step_size": size, "gamma": gamma}
    wave: dict[str, Any] = {"lr": lr, "T_max": period, "eta_min": eta_min}
    of_torch = torch.optim.lr_scheduler
    for own, theirs, values in ((Step, of_torch.StepLR, step), (Cosine, of_torch.CosineAnnealingLR, wave)):
        expected = []
        for run in range(runs):
            given = {name: value[run].item() for name, value in values.items() if name != "lr"}
            optimizer = torch_optimizer(lr[run].item())
            expected.append(torch_rates(optimizer, theirs(optimizer, **given), EPOCHS))
        schedule, kept = (own(**values, epochs=EPOCHS, steps_per_epoch=1) for _ in range(2))
        assert all_rates(schedule)[:, 0].T.tolist() == [rates.tolist() for rates in expected]
        kept.learning_rates(30)
        kept.keep(np.array([2, 7]))
        assert all_rates(kept, first=31)[:, 0].T.tolist() == [expected[run][31:].tolist() for run in (2, 7)]
        assert kept.learning_rates(5)[0].tolist() == [expected[run][5] for run in (2, 7)]


def test_cosine_ends_at_eta_min_halfway_at_the_middle() -> None:
    schedule = Cosine(1.0, epochs=30, steps_per_epoch=1, T_max=20, eta_min=0.2)
    close(np.array([schedule.learning_rates(epoch)[0, 0] for epoch in (0, 10, 20)]), np.array([1.0, 0.6, 0.2]))


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"anneal_strategy": "linear"},
        {"pct_start": 0.05, "div_factor": 3.0, "final_div_factor": 10.0},
        {"pct_start": 0.5, "anneal_strategy": "linear", "final_div_factor": 2.0},
        {"pct_start": 0.0},
        {"pct_start": 1.0},
    ],
)
def test_one_cycle_equals_torchs_at_every_step(values: dict[str, Any], steps: int) -> None:
    optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, epochs=EPOCHS, steps_per_epoch=steps, cycle_momentum=False, **values
    )
    rates = all_rates(OneCycle(0.1, epochs=EPOCHS, steps_per_epoch=steps, **values))
    expected = torch_rates(optimizer, scheduler, EPOCHS * steps)
    np.testing.assert_array_equal(rates.reshape(-1), expected)
    assert rates.max() > 10 * rates.min() or "final_div_factor" in values


def test_one_cycle_begins_peaks_and_ends_at_the_configured_rates() -> None:
    rates = all_rates(OneCycle(1.0, epochs=10, steps_per_epoch=10, pct_start=0.3)).reshape(-1)
    close(rates[[0, 29, 99]], np.array([1 / 25, 1.0, 1 / 25 / 1e4]))
    assert rates.argmax() == 29


def test_one_cycle_whose_first_step_is_the_peak_is_finite() -> None:  # torch divides by 0 here
    rates = all_rates(OneCycle(1.0, epochs=10, steps_per_epoch=1, pct_start=0.1)).reshape(-1)
    assert np.all(np.isfinite(rates))
    assert np.all((rates > 0) & (rates <= 1))


@pytest.mark.parametrize("minimise", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        {"patience": 3},
        {"patience": 0, "factor": 0.9},
        {"patience": 1, "factor": 0.3, "threshold": 0.05, "cooldown": 4},
        {"patience": 2, "threshold": 0.05, "threshold_mode": "abs", "min_lr": 0.004},
        {"patience": 0, "factor": 0.01, "threshold": 1.0},
        {"patience": 0, "factor": 0.5, "eps": 0.01},
    ],
)
def test_reduce_on_plateau_equals_torchs(values: dict[str, Any], minimise: bool) -> None:
    observed = metrics(0) if minimise else -metrics(0)
    optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min" if minimise else "max", **values)
    schedule = ReduceOnPlateau(0.1, epochs=EPOCHS, steps_per_epoch=2, minimise=minimise, **values)
    expected = torch_rates(optimizer, scheduler, EPOCHS, observed)
    assert len(set(expected)) > 1
    close(all_rates(schedule, observed[:, None])[:, 1, 0], expected)


@pytest.mark.parametrize("kind", KINDS.values())
def test_warm_up_multiplies_the_rates_by_a_line_from_near_0_to_1(kind: type[Schedule]) -> None:
    plain = all_rates(kind(0.2, epochs=6, steps_per_epoch=4))
    warm = all_rates(kind(0.2, epochs=6, steps_per_epoch=4, warmup=2.5))
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] + [1.0] * 14  # 2.5 epochs are 10 steps
    close(warm.reshape(-1), plain.reshape(-1) * expected, 1e-15)


def test_warm_up_agrees_with_torchs_lambda_and_may_be_less_than_a_step() -> None:
    optimizer = torch_optimizer(0.2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 9))
    rates = all_rates(Constant(0.2, epochs=6, steps_per_epoch=3, warmup=3))
    close(rates.reshape(-1), torch_rates(optimizer, scheduler, 18))
    assert np.all(all_rates(Constant(0.2, epochs=2, steps_per_epoch=3, warmup=0.1)) == 0.2)


PER_RUN: list[tuple[type[Schedule], dict[str, Any]]] = [
    (Constant, {"warmup": np.array([0.0, 1.0, 2.5, 50.0])}),
    (Step, {"step_size": np.array([1.0, 5.0, 30.0, 7.0]), "gamma": np.array([0.9, 0.5, 0.1, 1.0]), "warmup": 2}),
    (Cosine, {"T_max": np.array([10.0, 45.0, 90.0, 7.0]), "eta_min": np.array([0.0, 0.01, 0.0, 0.05])}),
    (Cosine, {}),
    (
        OneCycle,
        {
            "pct_start": np.array([0.1, 0.3, 0.9, 0.5]),
            "div_factor": np.array([25.0, 2.0, 5.0, 10.0]),
            "final_div_factor": np.array([1e4, 10.0, 1.0, 3.0]),
            "warmup": np.array([0.0, 1.0, 2.0, 3.0]),
        },
    ),
    (
        ReduceOnPlateau,
        {
            "factor": np.array([0.1, 0.5, 0.9, 0.3]),
            "patience": np.array([0.0, 1.0, 2.0, 5.0]),
            "threshold": np.array([1e-4, 0.1, 0.0, 0.05]),
            "cooldown": np.array([0.0, 3.0, 1.0, 0.0]),
            "min_lr": np.array([0.0, 0.05, 0.0, 0.1]),
            "warmup": 1.5,
        },
    ),
    (ReduceOnPlateau, {"patience": 1, "threshold_mode": "abs", "minimise": False}),
]
LRS = np.array([0.1, 0.2, 0.4, 0.8])
OBSERVED = np.stack([metrics(seed) for seed in range(4)], axis=1)  # (epochs, runs)


def build(kind: type[Schedule], values: dict[str, Any]) -> Schedule:
    return kind(LRS, epochs=EPOCHS, steps_per_epoch=3, **values)


def alone(kind: type[Schedule], values: dict[str, Any], run: int) -> np.ndarray:
    own: dict[str, Any] = {
        name: float(value[run]) if isinstance(value, np.ndarray) else value for name, value in values.items()
    }
    schedule = kind(float(LRS[run]), epochs=EPOCHS, steps_per_epoch=3, **own)
    return all_rates(schedule, OBSERVED[:, [run]])


@pytest.mark.parametrize(("kind", "values"), PER_RUN)
def test_each_run_of_a_stack_has_the_rates_of_the_single_run(kind: type[Schedule], values: dict[str, Any]) -> None:
    rates = all_rates(build(kind, values), OBSERVED)
    assert rates.shape == (EPOCHS, 3, 4)
    for run in range(4):
        assert np.array_equal(rates[:, :, [run]], alone(kind, values, run))
    assert len(np.unique(rates[-1, 0])) > 1


@pytest.mark.parametrize(("kind", "values"), [*PER_RUN, (Constant, {}), (Constant, {"warmup": 1.2})])
@pytest.mark.parametrize("count", [1, 5])
def test_the_rates_of_several_epochs_are_those_of_each(
    kind: type[Schedule], values: dict[str, Any], count: int
) -> None:
    schedule = build(kind, values)
    for first in (0, 1, 2, 7):
        each = [schedule.learning_rates(first + index) for index in range(count)]
        assert np.array_equal(schedule.learning_rates_of_epochs(first, count), each)


def test_a_rate_for_all_runs_with_a_value_for_each_gives_a_column_for_each() -> None:
    schedule = Step(0.1, epochs=4, steps_per_epoch=2, step_size=1, gamma=np.array([0.5, 0.1, 1.0]))
    close(schedule.learning_rates(2), np.array([[0.025, 0.001, 0.1]] * 2))


@pytest.mark.parametrize(("kind", "values"), PER_RUN)
def test_a_restored_state_continues_exactly(kind: type[Schedule], values: dict[str, Any], tmp_path: Path) -> None:
    expected = all_rates(build(kind, values), OBSERVED)
    before = build(kind, values)
    for epoch in range(20):
        before.learning_rates(epoch)
        before.observe(OBSERVED[epoch])
    torch.save(before.state_dict(), tmp_path / "state.pt")
    after = build(kind, values)
    after.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert np.array_equal(all_rates(after, OBSERVED, first=20), expected[20:])
    if kind is ReduceOnPlateau:
        assert not np.array_equal(all_rates(build(kind, values), OBSERVED, first=20), expected[20:])


def test_a_run_of_a_stack_continues_as_a_single_run_from_its_items_of_the_state() -> None:
    values: dict[str, Any] = {"patience": 1, "factor": 0.5}
    stack = build(ReduceOnPlateau, values)
    for epoch in range(20):
        stack.observe(OBSERVED[epoch])
    schedule = ReduceOnPlateau(0.4, epochs=EPOCHS, steps_per_epoch=3, **values)
    schedule.load_state_dict({name: [items[2]] for name, items in stack.state_dict().items()})
    expected = alone(ReduceOnPlateau, values, 2)[20:]
    assert np.array_equal(all_rates(schedule, OBSERVED[:, [2]], first=20), expected)


def test_a_state_of_another_number_of_runs_is_refused() -> None:
    state = build(ReduceOnPlateau, {}).state_dict()
    with pytest.raises(InputError, match="checkpoint: the schedule's state"):
        ReduceOnPlateau(0.1, epochs=3, steps_per_epoch=2).load_state_dict(state)
    with pytest.raises(InputError, match="checkpoint: the schedule's state"):
        Constant(0.1, epochs=3, steps_per_epoch=2).load_state_dict(state)


@pytest.mark.parametrize(("kind", "values"), PER_RUN)
def test_kept_runs_are_not_changed_by_dropping_others(kind: type[Schedule], values: dict[str, Any]) -> None:
    rows = np.array([3, 1])
    expected = all_rates(build(kind, values), OBSERVED)[20:][:, :, rows]
    schedule = build(kind, values)
    for epoch in range(20):
        schedule.observe(OBSERVED[epoch])
    schedule.keep(rows)
    assert np.array_equal(all_rates(schedule, OBSERVED[:, rows], first=20), expected)


def test_a_metric_of_another_number_of_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="metric for each run"):
        build(ReduceOnPlateau, {}).observe(np.zeros(1))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Constant, {"warmup": -1}, r"scheduler\.warmup=-1: must be"),
        (Constant, {"warmup": float("nan")}, r"scheduler\.warmup=nan: must be"),
        (Constant, {"warmup": float("inf")}, r"scheduler\.warmup=inf: must be"),
        (Constant, {"warmup": "soon"}, r"must be numbers.*soon"),
        (Step, {"step_size": 0, "gamma": -0.5}, r"(?s)scheduler\.step_size=0:.*scheduler\.gamma=-0\.5:"),
        (Step, {"step_size": 2.5}, r"scheduler\.step_size=2\.5: must be a whole number"),
        (Step, {"gamma": np.array([0.1, -2.0])}, r"scheduler\.gamma=-2: must be"),
        (Cosine, {"T_max": 0}, r"scheduler\.T_max=0: must be"),
        (Cosine, {"eta_min": -0.1}, r"scheduler\.eta_min=-0\.1: must be"),
        (OneCycle, {"pct_start": 1.5}, r"scheduler\.pct_start=1\.5: must be between 0 and 1"),
        (OneCycle, {"div_factor": 0}, r"scheduler\.div_factor=0: must be"),
        (OneCycle, {"final_div_factor": 0}, r"scheduler\.final_div_factor=0: must be"),
        (OneCycle, {"anneal_strategy": "cosine"}, r"scheduler\.anneal_strategy=cosine: must be cos or linear"),
        (ReduceOnPlateau, {"factor": 1.0}, r"scheduler\.factor=1: must be"),
        (ReduceOnPlateau, {"threshold_mode": "x"}, r"scheduler\.threshold_mode=x: must be rel or abs"),
        (ReduceOnPlateau, {"patience": -1, "cooldown": -1}, r"(?s)scheduler\.patience=-1:.*scheduler\.cooldown=-1:"),
    ],
)
def test_values_out_of_range_are_refused_with_their_key(
    kind: type[Schedule], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        kind(0.1, epochs=5, steps_per_epoch=2, **values)


def test_every_yaml_gives_all_values_with_the_defaults_of_its_class() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} >= set(KINDS)
    for choice, kind in KINDS.items():
        values: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{choice}.yaml"))
        assert values.pop("_target_") == f"{schedules.__name__}.{kind.__name__}"
        signature = inspect.signature(kind).parameters
        assert set(values) == set(signature) - {"lr", "epochs", "steps_per_epoch", "minimise"}
        assert {name: signature[name].default for name in values} == values


def test_the_defaults_are_torchs() -> None:
    pairs = {Step: "StepLR", Cosine: "CosineAnnealingLR", OneCycle: "OneCycleLR", ReduceOnPlateau: "ReduceLROnPlateau"}
    for kind, name in pairs.items():
        theirs = inspect.signature(getattr(torch.optim.lr_scheduler, name)).parameters
        ours = inspect.signature(kind).parameters
        compared = set(ours) - set(inspect.signature(Constant).parameters) - {"step_size", "T_max"}  # torch: no default
        assert compared
        assert {key: ours[key].default for key in compared} == {key: theirs[key].default for key in compared}
