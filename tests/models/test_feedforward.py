"""The networks against layers written out by hand, and their initial weights against torch.nn.init."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ch12cli.models import linear, mlp


def parameters_equal(mine: nn.Module, theirs: nn.Module) -> bool:
    pairs = zip(mine.parameters(), theirs.parameters(), strict=True)
    return all(torch.equal(a.detach(), b.detach()) for a, b in pairs)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return make()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_an_mlp_is_its_layers_in_order_with_the_same_initial_weights(depth: int) -> None:
    def by_hand() -> nn.Sequential:
        layers: list[nn.Module] = []
        for fan_in in [4, 5, 5][:depth]:
            layers += [nn.Linear(fan_in, 5), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(5 if depth else 4, 3))

    mine, theirs = seeded(lambda: mlp(4, 3, activation=nn.Tanh, width=5, depth=depth)), seeded(by_hand)
    assert [type(layer) for layer in mine.children()] == [type(layer) for layer in theirs.children()]
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert parameters_equal(mine, theirs)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mine(x), theirs(x))


def test_dropout_follows_each_activation_unless_it_is_zero() -> None:
    kinds = [type(layer) for layer in mlp(4, 3, width=5, depth=2, dropout=0.25).children()]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert nn.Dropout not in [type(layer) for layer in mlp(4, 3, depth=2).children()]
    dropouts = [layer.p for layer in mlp(4, 3, dropout=0.25).modules() if isinstance(layer, nn.Dropout)]
    assert dropouts == [0.25]


def test_each_layer_has_its_own_activation_module() -> None:
    layers = list(mlp(4, 3, activation=nn.PReLU, depth=2).children())
    assert layers[1] is not layers[3]
    assert len(list(mlp(4, 3, activation=nn.PReLU, depth=2).parameters())) == 3 * 2 + 2


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("sigmoid", torch.sigmoid),
        ("softmax", lambda z: torch.softmax(z, 1)),
        ("log_softmax", lambda z: torch.log_softmax(z, 1)),
        ("none", lambda z: z),
    ],
)
def test_the_output_is_activated_over_the_units(output: str, expected: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    for make in (linear, mlp):
        model = seeded(lambda make=make: make(4, 3, output=output))
        bare = seeded(lambda make=make: make(4, 3))
        torch.testing.assert_close(model(x), expected(bare(x)))
        batch = torch.stack([x, x + 1])  # a leading axis, as a stack of runs has
        torch.testing.assert_close(model(batch)[1], model(x + 1))


@pytest.mark.parametrize(
    ("init", "draw"),
    [
        ("xavier", nn.init.xavier_uniform_),
        ("kaiming", lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu")),
        ("normal", nn.init.normal_),
    ],
)
def test_an_init_draws_only_the_weights_and_sets_biases_to_zero(
    init: str, draw: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        model = mlp(40, 3, width=50, init=init)
        after = torch.rand(2)
        torch.manual_seed(6)
        first, last = draw(torch.empty(50, 40)), draw(torch.empty(3, 50))
        assert torch.equal(torch.rand(2), after)
    weights = [layer for layer in model.children() if isinstance(layer, nn.Linear)]
    assert torch.equal(weights[0].weight, first)
    assert torch.equal(weights[1].weight, last)
    assert all(not layer.bias.any() for layer in weights)


def test_the_inits_have_the_standard_deviations_of_their_papers() -> None:
    fan_in, fan_out = 300, 200
    for init, deviation in (
        ("xavier", (2 / (fan_in + fan_out)) ** 0.5),  # Glorot & Bengio 2010
        ("kaiming", (2 / fan_in) ** 0.5),  # He et al. 2015
        ("normal", 1.0),
        ("torch", (1 / (3 * fan_in)) ** 0.5),  # uniform in ±1/√fan_in
    ):
        weight = seeded(lambda init=init: linear(fan_in, fan_out, init=init))[0].weight  # type: ignore[index]
        assert weight.std().item() == pytest.approx(deviation, rel=0.02), init


def test_the_chapters_regression_starts_from_one_normal_weight() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = linear(1, 1, init="normal")
        after = torch.rand(1)
        torch.manual_seed(1)
        weight = torch.randn(1)
        assert torch.equal(torch.rand(1), after)
    assert torch.equal(model[0].weight.detach().flatten(), weight)  # type: ignore[operator]
    assert model[0].bias.item() == 0  # type: ignore[operator]
