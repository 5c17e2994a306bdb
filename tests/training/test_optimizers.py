"""The reference is torch.optim: bit for bit for a run alone, to 1e-12 in float64 for each run of a stack."""

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from ch12cli.errors import InputError
from ch12cli.training.optimizers import (
    FUSED_FROM,
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Optimizer,
    RMSprop,
    TorchOptimizer,
)

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES = [(16, 4), (16,), (3, 16), (3,)]  # the chapter's Iris network: 131 values
CONF = Path(__file__).parents[2] / "conf" / "optimizer"


def choices(**values: tuple) -> Iterator[dict[str, Any]]:
    """Every combination of the values."""
    return (dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values()))


BETAS = ((0.9, 0.999), (0.3, 0.6), (0.0, 0.5))  # a lerp below, and above, the weight where torch changes its formula
ALONE = [
    *((SGD, c) for c in choices(momentum=(0, 0.0, 0.9), dampening=(0.0, 0.3), weight_decay=(0, 0.1))),
    *((SGD, c) for c in choices(momentum=(0.5, 0.9), nesterov=(True,), weight_decay=(0.0, 0.1))),
    *((Adam, c) for c in choices(betas=BETAS, amsgrad=(False, True), weight_decay=(0, 0.1), eps=(1e-8, 1e-2))),
    *((AdamW, c) for c in choices(betas=BETAS, amsgrad=(False, True), weight_decay=(0, 0.1))),
    *(
        (RMSprop, c)
        for c in choices(alpha=(0.99, 0.3), momentum=(0, 0.9), centered=(False, True), weight_decay=(0, 0.1))
    ),
    *(
        (Adagrad, c)
        for c in choices(
            lr_decay=(0, 0.1), weight_decay=(0, 0.1), initial_accumulator_value=(0, 0.5), eps=(1e-10, 1e-2)
        )
    ),
]


@pytest.fixture
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small tensors gain nothing from several threads, and waiting for them on a busy machine takes long."""
    threads = torch.get_num_threads()
    if "several_threads" not in request.node.name:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def names(case: Any) -> str | None:
    if isinstance(case, dict):
        return ",".join(f"{name}={value}" for name, value in case.items()).replace(" ", "") or "defaults"
    return case.__name__ if isinstance(case, type) else None


def rate(step: int) -> float:
    """A learning rate that changes from step to step, as a schedule's does."""
    return 0.03 / (1 + step % 7)


def pull(parameters: Tensor, step: int) -> Tensor:
    """A gradient that depends on the parameters, so that one wrong bit grows, and on the step."""
    places = torch.arange(parameters.shape[-1], dtype=parameters.dtype)
    return (parameters - (places + step).sin()) * (1 + places % 5) + (3 * places * step).cos()


def start(size: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_torch(
    kind: type[torch.optim.Optimizer],
    flat: Tensor,
    steps: int,
    *,
    shapes: list[tuple[int, ...]] | None = None,
    rate_of: Callable[[int], float] = rate,
    **values: Any,
) -> Tensor:
    """The reference: torch's own optimiser on separate tensors, its rate set before each step."""
    shapes = shapes or [tuple(flat.shape)]
    sizes = [int(np.prod(shape)) for shape in shapes]
    parts = [
        torch.nn.Parameter(part.clone().view(shape)) for part, shape in zip(flat.split(sizes), shapes, strict=True)
    ]
    optimizer = kind(parts, lr=1.0, **values)  # type: ignore[call-arg]
    for step in range(steps):
        gradient = pull(torch.cat([part.detach().reshape(-1) for part in parts]), step)
        for part, piece in zip(parts, gradient.split(sizes), strict=True):
            part.grad = piece.view_as(part).clone()
        optimizer.param_groups[0]["lr"] = rate_of(step)
        optimizer.step()
    return torch.cat([part.detach().reshape(-1) for part in parts])


def advance(optimizer: Optimizer, steps: range, rates: Any = 1.0) -> Tensor:
    for step in steps:
        optimizer.step(pull(optimizer.parameters, step), rates * rate(step))
    return optimizer.parameters


def test_there_are_five_optimizers_under_torch_names() -> None:
    assert list(OPTIMIZERS) == [f"torch.optim.{name}" for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")]
    assert {kind for kind, _ in ALONE} == set(OPTIMIZERS.values())


@pytest.mark.sample(56)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("kind", "values"), ALONE, ids=names)
def test_a_single_run_equals_torch_bit_for_bit(
    kind: type[Optimizer], values: dict[str, Any], dtype: torch.dtype
) -> None:
    flat = start(131, dtype)
    expected = by_torch(getattr(torch.optim, kind.__name__), flat, 25, shapes=SHAPES, **values)
    assert not torch.equal(expected, flat)
    assert torch.equal(advance(kind(flat, **values), range(25)), expected)
    assert torch.equal(flat, expected)  # in place


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=names)
def test_a_network_large_enough_for_several_threads_equals_torch_bit_for_bit(kind: type[Optimizer]) -> None:
    shapes = [(301, 211), (301,), (7, 301), (7,)]
    flat = start(sum(int(np.prod(shape)) for shape in shapes), torch.float32)
    expected = by_torch(getattr(torch.optim, kind.__name__), flat, 5, shapes=shapes, weight_decay=0.1)
    assert torch.equal(advance(kind(flat, weight_decay=0.1), range(5)), expected)


RUNS = 6
WIDE = FUSED_FROM // (RUNS - 1) + 1  # parameters of each run with which a stack takes Adam's fused kernel
LRS = np.array([1.0, 0.1, 3.0, 0.5, 2.0, 0.0])  # factors of the rate; the last run stands still
DECAYS = np.array([0.0, 0.1, 0.01, 0.0, 0.2, 0.05])
MOMENTA = np.array([0.9, 0.5, 0.0, 0.99, 0.8, 0.3])
BETAS1, BETAS2 = np.array([0.9, 0.5, 0.0, 0.99, 0.3, 0.8]), np.array([0.999, 0.9, 0.99, 0.5, 0.95, 0.6])
EPS = np.array([1e-8, 1e-4, 1e-2, 1e-8, 1e-6, 1e-3])
NARROW: list[tuple[type[Optimizer], dict[str, Any]]] = [
    *((kind, {}) for kind in OPTIMIZERS.values()),
    *((kind, {"weight_decay": 0.1}) for kind in OPTIMIZERS.values()),
    *((kind, {"weight_decay": DECAYS}) for kind in OPTIMIZERS.values()),
    (SGD, {"momentum": 0.9, "dampening": 0.3}),
    (SGD, {"momentum": MOMENTA, "dampening": 0.3}),
    (SGD, {"momentum": MOMENTA, "dampening": MOMENTA[::-1].copy(), "weight_decay": DECAYS}),
    (SGD, {"momentum": np.where(MOMENTA == 0, 0.1, MOMENTA), "nesterov": True}),
    *((kind, {"amsgrad": True, "betas": [0.6, 0.7], "eps": 1e-3}) for kind in (Adam, AdamW)),
    *((kind, {"betas": (BETAS1, 0.99), "weight_decay": DECAYS}) for kind in (Adam, AdamW)),
    *((kind, {"betas": (0.9, BETAS2), "eps": EPS, "amsgrad": True}) for kind in (Adam, AdamW)),
    *((kind, {"betas": (BETAS1, BETAS2), "eps": EPS, "weight_decay": DECAYS}) for kind in (Adam, AdamW)),
    *(
        (RMSprop, c)
        for c in choices(alpha=(0.99, BETAS2), momentum=(0.9, MOMENTA), centered=(False, True), eps=(1e-2,))
    ),
    (RMSprop, {"eps": EPS, "alpha": BETAS2, "weight_decay": DECAYS}),
    (Adagrad, {"lr_decay": MOMENTA, "initial_accumulator_value": EPS, "eps": EPS, "weight_decay": DECAYS}),
    (Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
]
STACKED = [
    *((kind, values, 131) for kind, values in NARROW),
    *((kind, {}, WIDE) for kind in (Adam, AdamW)),
    *((kind, {"weight_decay": DECAYS}, WIDE) for kind in (Adam, AdamW)),
    *((kind, {"amsgrad": True, "betas": [0.6, 0.7], "eps": 1e-3}, WIDE) for kind in (Adam, AdamW)),
]


def stack(dtype: torch.dtype = torch.float64, *, layout: str = "runs first", size: int = 131) -> Tensor:
    """(runs, size); in memory the runs come first or last."""
    rows = [start(size, dtype, seed) for seed in range(RUNS)]
    return torch.stack(rows) if layout == "runs first" else torch.stack(rows, 1).t()


def of_run(run: int, values: dict[str, Any]) -> dict[str, Any]:
    """The values of one run of the stack, as plain numbers."""

    def number(value: Any) -> Any:
        return float(value[run]) if isinstance(value, np.ndarray) else value

    return {name: tuple(map(number, v)) if name == "betas" else number(v) for name, v in values.items()}


def assert_near(actual: Tensor, expected: Tensor, relative: float = 1e-12) -> None:
    """Each run's weights agree, relative to the largest of them."""
    error = (actual - expected).abs().amax(-1) / expected.abs().amax(-1)
    assert error.max() <= relative, error


def stacked_by_torch(kind: type[Optimizer], values: dict[str, Any], steps: int, flat: Tensor) -> Tensor:
    reference = getattr(torch.optim, kind.__name__)
    rows = [
        by_torch(reference, row, steps, rate_of=lambda step, f=factor: f * rate(step), **of_run(run, values))
        for run, (row, factor) in enumerate(zip(flat, LRS.tolist(), strict=True))
    ]
    return torch.stack(rows)


@pytest.mark.sample(5)
@pytest.mark.parametrize(("kind", "values", "size"), STACKED, ids=names)
def test_each_run_of_a_stack_agrees_with_torch_on_that_run(
    kind: type[Optimizer], values: dict[str, Any], size: int
) -> None:
    expected = stacked_by_torch(kind, values, 100, stack(size=size))
    actual = advance(kind(stack(size=size), **values), range(100), LRS)
    runs_last = advance(kind(stack(size=size, layout="runs last"), **values), range(100), LRS)
    assert runs_last.stride() == (1, RUNS)
    assert_near(actual, expected)
    assert_near(runs_last, expected)
    assert torch.equal(actual[-1], stack(size=size)[-1])  # at rate 0
    differences = (actual[:, None] - actual).abs().amax(-1) + torch.eye(RUNS)
    assert differences.min() > 1e-3  # no two runs are the same one


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=names)
def test_one_rate_for_all_runs_may_be_a_number(kind: type[Optimizer]) -> None:
    for size in (131, WIDE):
        as_array = advance(kind(stack(size=size), weight_decay=0.1), range(20), np.ones(RUNS))
        assert_near(advance(kind(stack(size=size), weight_decay=0.1), range(20)), as_array)


@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=names)
def test_a_stack_in_float32_stays_near_the_single_runs(kind: type[Optimizer]) -> None:
    actual = advance(kind(stack(torch.float32)), range(50), LRS)
    assert actual.dtype == torch.float32
    assert_near(actual, stacked_by_torch(kind, {}, 50, stack(torch.float32)), 1e-4)


@pytest.mark.parametrize(("kind", "values", "size"), STACKED, ids=names)
def test_a_run_that_diverges_changes_no_other(kind: type[Optimizer], values: dict[str, Any], size: int) -> None:
    wild = np.where(np.arange(RUNS) == 2, 1e20, LRS)
    calm = advance(kind(stack(torch.float32, size=size), **values), range(12), LRS)
    actual = advance(kind(stack(torch.float32, size=size), **values), range(12), wild)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(actual[others], calm[others])
    assert not torch.equal(actual[2], calm[2])


@pytest.mark.sample(30)
@pytest.mark.parametrize("layout", ["runs first", "runs last"])
@pytest.mark.parametrize(("kind", "values", "size"), STACKED, ids=names)
def test_kept_runs_are_not_changed_by_dropping_others(
    kind: type[Optimizer], values: dict[str, Any], size: int, layout: str
) -> None:
    rows = torch.tensor([4, 1, 0, 2, 3])
    expected = advance(kind(stack(size=size), **values), range(30), LRS)[rows]
    optimizer = kind(stack(size=size, layout=layout), **values)
    fewer = advance(optimizer, range(10), LRS).index_select(0, rows)
    if layout == "runs last":
        fewer = fewer.t().contiguous().t()
    optimizer.keep(rows, fewer)
    assert_near(advance(optimizer, range(10, 30), LRS[rows]), expected)
    assert optimizer.parameters.data_ptr() == fewer.data_ptr()
    assert all(tensor.shape == fewer.shape for tensor in optimizer.state.values())


@pytest.mark.parametrize("layout", ["alone", "runs first", "runs last"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SGD, {"momentum": 0.9, "dampening": 0.1}),
        (SGD, {}),
        (Adam, {"amsgrad": True}),
        (AdamW, {}),
        (RMSprop, {"momentum": 0.9, "centered": True}),
        (Adagrad, {"lr_decay": 0.1}),
    ],
    ids=names,
)
def test_a_restored_state_continues_bit_for_bit(
    kind: type[Optimizer], values: dict[str, Any], layout: str, tmp_path: Path
) -> None:
    flat = start(131, torch.float64) if layout == "alone" else stack(layout=layout)
    rates = 1.0 if layout == "alone" else LRS
    expected = advance(kind(flat.clone(), **values), range(30), rates)

    before = kind(flat.clone(), **values)
    middle = advance(before, range(10), rates).clone()
    torch.save(before.state_dict(), tmp_path / "state.pt")
    kept_in_memory = before.state_dict()
    advance(before, range(10, 12), rates)  # later steps do not change what was saved
    for state in (torch.load(tmp_path / "state.pt", weights_only=True), kept_in_memory):
        after = kind(middle.clone(), **values)
        after.load_state_dict(state)
        assert torch.equal(advance(after, range(10, 30), rates), expected)
    if before.state:
        fresh = advance(kind(middle.clone(), **values), range(10, 30), rates)
        assert not torch.equal(fresh, expected)  # the state matters


def test_a_run_of_a_stack_continues_as_a_single_run_from_its_row_of_the_state() -> None:
    optimizer = Adam(stack(), betas=(BETAS1, BETAS2))
    middle = advance(optimizer, range(10), LRS).clone()
    alone = Adam(middle[4], betas=(float(BETAS1[4]), float(BETAS2[4])))
    state = optimizer.state_dict()
    alone.load_state_dict({name: value[4] if isinstance(value, Tensor) else value for name, value in state.items()})
    assert_near(advance(alone, range(10, 40), float(LRS[4])), advance(optimizer, range(10, 40), LRS)[4])


def test_optional_state_is_dropped_or_starts_with_zeros() -> None:
    with_more, without = (Adam(start(131, torch.float64), amsgrad=amsgrad) for amsgrad in (True, False))
    advance(with_more, range(5), 0.01)
    without.load_state_dict(with_more.state_dict())
    assert without.state.keys() == {"exp_avg", "exp_avg_sq"}
    assert torch.equal(without.state["exp_avg"], with_more.state["exp_avg"])
    with_more.load_state_dict(without.state_dict())
    assert not with_more.state["max_exp_avg_sq"].any()
    assert with_more.steps == 5


def test_a_state_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"needs .*'exp_avg'"):
        Adam(start(131, torch.float32)).load_state_dict(SGD(start(131, torch.float32), momentum=0.9).state_dict())
    with pytest.raises(InputError, match=r"\(7,\)"):
        Adam(start(131, torch.float32)).load_state_dict(Adam(start(7, torch.float32)).state_dict())


@pytest.mark.parametrize("layout", ["alone", "runs first", "runs last"])
@pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=names)
def test_the_gradient_is_not_changed_and_may_have_any_memory_layout(kind: type[Optimizer], layout: str) -> None:
    flat = start(131, torch.float64) if layout == "alone" else stack(layout=layout, size=WIDE)
    fitting = pull(flat, 1)
    other_way = fitting.contiguous() if layout == "runs last" else fitting.t().contiguous().t()
    assert (other_way.stride() == fitting.stride()) is (layout == "alone")
    before = other_way.clone()
    optimizer, expected = kind(flat.clone(), weight_decay=0.1), kind(flat.clone(), weight_decay=0.1)
    for _ in range(3):
        optimizer.step(other_way, 0.1)
        expected.step(fitting, 0.1)
    assert torch.equal(other_way, before)
    assert torch.equal(optimizer.parameters, expected.parameters)


def test_parameters_may_be_a_leaf_of_autograd() -> None:
    leaf = start(131, torch.float32).requires_grad_()
    leaf.square().sum().backward()
    Adam(leaf).step(leaf.grad, 0.1)
    assert leaf.requires_grad
    assert leaf.is_leaf
    assert not torch.equal(leaf.detach(), start(131, torch.float32))


def test_a_single_run_has_no_rows_to_keep() -> None:
    flat = start(131, torch.float32)
    with pytest.raises(ValueError, match="single run"):
        Adam(flat).keep(torch.tensor([0]), flat)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (SGD, {"lr": -1.0}, r"optimizer\.lr=-1: must be"),
        (SGD, {"momentum": float("nan")}, r"optimizer\.momentum=nan: must be"),
        (SGD, {"weight_decay": np.array([0.0, -0.5])}, r"optimizer\.weight_decay=-0\.5: must be"),
        (SGD, {"nesterov": True}, r"nesterov.*momentum"),
        (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, r"nesterov.*dampening"),
        (Adam, {"betas": (0.9, 1.0)}, r"optimizer\.betas=1: must be at least 0 and below 1"),
        (Adam, {"betas": [0.9]}, r"optimizer\.betas=\[0\.9\]: must be two numbers"),
        (AdamW, {"weight_decay": "much"}, r"optimizer\.weight_decay=much: must be a number"),
        (Adam, {"eps": float("inf")}, r"optimizer\.eps=inf"),
        (RMSprop, {"alpha": -0.1, "lr": -1.0}, r"(?s)optimizer\.lr=-1.*optimizer\.alpha=-0\.1"),
        (Adagrad, {"initial_accumulator_value": -1.0}, r"optimizer\.initial_accumulator_value=-1"),
    ],
)
def test_values_that_torch_refuses_are_refused_with_their_key(
    kind: type[Optimizer], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        kind(stack(), **values)


OTHERS = ("Adadelta", "Adafactor", "Adamax", "ASGD", "NAdam", "RAdam", "Rprop", "Adam")


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_optimizer_of_torch_runs_behind_the_same_interface(name: str) -> None:
    kind = getattr(torch.optim, name)
    flat = start(131, torch.float64)
    expected = by_torch(kind, flat, 20, shapes=SHAPES)
    for saved in (False, True):
        actual = flat.clone()
        views = [
            torch.nn.Parameter(part.view(shape))
            for part, shape in zip(actual.split([64, 16, 48, 3]), SHAPES, strict=True)
        ]
        gradient = torch.zeros_like(actual)
        for view, part in zip(views, gradient.split([64, 16, 48, 3]), strict=True):
            view.grad = part.view_as(view)
        optimizer = TorchOptimizer(kind, views)
        for step in range(20):
            if saved and step == 10:
                state, optimizer = optimizer.state_dict(), TorchOptimizer(kind, views)
                optimizer.load_state_dict(state)
            optimizer.step(gradient.copy_(pull(actual, step)), rate(step))
        assert torch.equal(actual, expected)


def test_state_of_torch_optimizers_is_a_copy_and_loads_as_plain_data(tmp_path: Path) -> None:
    view = torch.nn.Parameter(start(5, torch.float32))
    view.grad = torch.ones(5)
    optimizer = TorchOptimizer(torch.optim.NAdam, [view])
    optimizer.step(view.grad, 0.1)
    state = optimizer.state_dict()
    before = state["state"][0]["exp_avg"].clone()
    optimizer.step(view.grad, 0.1)
    assert torch.equal(state["state"][0]["exp_avg"], before)
    optimizer.load_state_dict(state)
    optimizer.step(view.grad, 0.1)
    assert torch.equal(state["state"][0]["exp_avg"], before)
    torch.save(state, tmp_path / "state.pt")
    assert torch.equal(torch.load(tmp_path / "state.pt", weights_only=True)["state"][0]["exp_avg"], before)
    with pytest.raises(InputError, match="does not fit"):
        TorchOptimizer(torch.optim.NAdam, [view, view.detach().clone().requires_grad_()]).load_state_dict(state)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (torch.optim.LBFGS, {}, "LBFGS.*closure"),
        (torch.optim.SparseAdam, {}, "SparseAdam.*sparse"),
        (torch.optim.Muon, {}, "Muon.*2D"),
        (torch.optim.NAdam, {"momentum": 0.9}, "NAdam.*momentum"),
        (torch.optim.NAdam, {"lr": -1.0}, "NAdam.*learning rate"),
    ],
)
def test_optimizers_that_the_loop_cannot_use_are_refused_with_the_reason(
    kind: type[torch.optim.Optimizer], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        TorchOptimizer(kind, [torch.nn.Parameter(torch.zeros(3))], **values)


def test_every_yaml_gives_all_arguments_with_the_defaults_of_ch12_and_torch() -> None:
    found = set()
    for path in sorted(CONF.glob("*.yaml")):
        values: Any = OmegaConf.to_container(OmegaConf.load(path))
        target = values.pop("_target_")
        if target not in OPTIMIZERS:
            continue
        found.add(path.stem)
        ours = inspect.signature(OPTIMIZERS[target]).parameters
        theirs = inspect.signature(getattr(torch.optim, target.rsplit(".")[-1])).parameters
        assert set(values) == set(ours) - {"parameters"}
        for name, value in values.items():
            default = tuple(value) if isinstance(value, list) else value
            assert default == ours[name].default
            assert default == theirs[name].default or (path.stem, name) == ("sgd", "lr")
    assert found == {"sgd", "adam", "adamw", "rmsprop", "adagrad"}


def test_every_yaml_begins_with_a_sentence_and_explains_each_value() -> None:
    paths = sorted([*CONF.glob("*.yaml"), *(CONF.parent / "scheduler").glob("*.yaml")])
    assert len(paths) >= 10
    for path in paths:
        first, target, *lines = path.read_text(encoding="utf-8").splitlines()
        assert first.startswith("# ")
        assert len(first) <= 92
        assert target.startswith("_target_: ")
        assert all("  # " in line for line in lines), path
