"""A small convolutional network for images."""

from collections.abc import Callable, Sequence

from torch import nn

from ch12cli.errors import InputError
from ch12cli.models.feedforward import output_layers
from ch12cli.models.init import convolution, dense


def cnn(
    shape: Sequence[int] | None,
    outputs: int,
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    channels: int = 8,
    depth: int = 2,
    kernel_size: int = 3,
    output: str = "none",
    init: str = "torch",
) -> nn.Sequential:
    """Returns convolutions followed by a linear layer, (rows, channels * height * width) -> (rows, outputs).

    shape: of an image, (channels, height, width). activation: constructs an activation. depth: number of blocks, each
    of a convolution, an activation and a pooling that halves height and width. The first block has `channels` channels;
    each further one doubles them. Raises InputError if the rows are not images, or if the images are too small for the
    depth.
    """
    if shape is None:
        raise InputError("model=cnn: needs images, and the rows of the data set are not images; use model=mlp")
    inputs, height, width = shape
    if min(height, width) >> depth == 0:
        raise InputError(
            f"model.depth={depth}: each level halves the image, and {height} x {width} can be halved "
            f"{min(height, width).bit_length() - 1} times at most; use fewer levels, or larger images"
        )
    layers: list[nn.Module] = [nn.Unflatten(1, (inputs, height, width))]
    for level in range(depth):
        units = channels * 2**level
        layers += [convolution(inputs, units, kernel_size=kernel_size, init=init), activation(), nn.MaxPool2d(2)]
        inputs = units
    values = inputs * (height >> depth) * (width >> depth)
    return nn.Sequential(*layers, nn.Flatten(), dense(values, outputs, init=init), *output_layers(output))
