"""Demonstrations of section 12.4: activations, their derivatives, and gradients in deep networks."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ch12cli.book.demo import Demo
from ch12cli.models import mlp
from ch12cli.plots.plot import Axis, Grid, Line, Lines, Plot, Values

SEEDS = 40  # number of networks over which a gradient is averaged
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "leaky ReLU": lambda: nn.LeakyReLU(0.01),
    "ELU": nn.ELU,
    "GELU": nn.GELU,
}
DEPTHS = (2, 5, 10, 20)


def activations() -> Demo:
    """12.4: plots the activations and their derivatives."""
    z = torch.linspace(-5, 5, 201, requires_grad=True)
    values, slopes = [], []
    for name, make in ACTIVATIONS.items():
        y = make()(z)
        (slope,) = torch.autograd.grad(y.sum(), z)
        x = z.detach().double().numpy()
        values.append(Line(name, x, y.detach().double().numpy()))
        slopes.append(Line(name, x, slope.double().numpy()))
    steepest = [f"{line.name}: slope at most {np.nanmax(line.y):.2f}" for line in slopes]
    about = (
        "A gradient passes each layer times the slope of its activation. The logistic function's is 0.25 at most and "
        "almost 0 away from the middle; ReLU's is 1 wherever the unit is on."
    )
    plots = [
        Plot("Activations", [Lines(Axis("net input z"), Axis("output"), values)]),
        Plot("Their derivatives", [Lines(Axis("net input z"), Axis("slope"), slopes)]),
    ]
    return Demo("Activations and their derivatives", about, steepest, plots)


def gradient_sizes(make: Callable[[], nn.Module], depth: int) -> Values:
    """Returns the norm of the loss gradient for each layer's weights, first to last, (depth + 1,).

    It is the geometric mean over SEEDS networks, computed as one stack. Each has 32 units a layer and gets 64 rows of
    random numbers.
    """
    torch.manual_seed(1)
    x, y = torch.randn(64, 16), torch.randint(0, 2, (64, 1)).float()
    networks = [mlp(16, 1, activation=make, width=32, depth=depth) for _ in range(SEEDS)]
    parameters, buffers = torch.func.stack_module_state(list[nn.Module](networks))

    def loss(values: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
        prediction = torch.func.functional_call(networks[0], (values, state), (x,))
        return nn.functional.binary_cross_entropy_with_logits(prediction, y)

    gradients = torch.func.vmap(torch.func.grad(loss))(parameters, buffers)
    sizes = [
        value.detach().flatten(1).norm(dim=1).double() for name, value in gradients.items() if name.endswith("weight")
    ]
    return np.array([float(size.clamp_min(1e-300).log().mean().exp()) for size in sizes])


def gradients() -> Demo:
    """12.4: measures the gradient that reaches the first layers of deep networks."""
    sizes = {(name, depth): gradient_sizes(make, depth) for name, make in ACTIVATIONS.items() for depth in DEPTHS}
    deep = DEPTHS[2]
    layers = np.arange(1.0, deep + 2)
    lines = [Line(name, layers, sizes[name, deep]) for name in ACTIVATIONS]
    ratios = np.array([[sizes[name, depth][0] / sizes[name, depth][-1] for depth in DEPTHS] for name in ACTIVATIONS])
    grid = Grid(
        Axis("activation", names=tuple(ACTIVATIONS)),
        Axis("hidden layers", names=tuple(map(str, DEPTHS))),
        ratios,
        [[f"{value:.1g}" for value in row] for row in ratios.tolist()],
        "gradient of the first layer's weights over that of the last layer's",
        shades=(np.log10(ratios) - np.log10(ratios).min()) / np.ptp(np.log10(ratios)),
    )
    texts = [
        f"{name}: with {DEPTHS[-1]} hidden layers the first gets {row[-1]:.1g} of the last's"
        for name, row in zip(ACTIVATIONS, ratios.tolist(), strict=True)
    ]
    about = (
        f"Networks of 32 units a layer with torch's initial weights, {SEEDS} for each activation and depth, computed "
        "as stacks. Through sigmoid layers the gradient shrinks by a factor at each; that is what is called vanishing."
    )
    plots = [
        Plot(
            f"Gradient by layer, {deep} hidden layers",
            [Lines(Axis("layer"), Axis("size of the gradient", log=True), lines)],
        ),
        Plot("What arrives at the first layer", [grid]),
    ]
    return Demo("Vanishing gradients, measured", about, texts, plots)
