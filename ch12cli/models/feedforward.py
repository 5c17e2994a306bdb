"""Feed-forward networks: a linear layer, or a multilayer perceptron."""

from collections.abc import Callable

from torch import nn

from ch12cli.models.init import dense

OUTPUTS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
}


def linear(inputs: int, outputs: int, *, output: str = "none", init: str = "torch") -> nn.Sequential:
    """Returns a linear layer, (rows, inputs) -> (rows, outputs), followed by the output activation."""
    layers: list[nn.Module] = [dense(inputs, outputs, init=init)]
    return nn.Sequential(*layers, *output_layers(output))


def mlp(
    inputs: int,
    outputs: int,
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    width: int = 16,
    depth: int = 1,
    dropout: float = 0.0,
    output: str = "none",
    init: str = "torch",
) -> nn.Sequential:
    """Returns a multilayer perceptron, (rows, inputs) -> (rows, outputs), with `depth` hidden layers of `width` units.

    activation: constructs the activation of each hidden layer.
    """
    layers: list[nn.Module] = []
    for fan_in in [inputs, *[width] * (depth - 1)][:depth]:
        layers += [dense(fan_in, width, init=init), activation()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    layers.append(dense(width if depth else inputs, outputs, init=init))
    return nn.Sequential(*layers, *output_layers(output))


def output_layers(output: str) -> list[nn.Module]:
    return [] if output == "none" else [OUTPUTS[output]()]
