"""The program of a structure: what the compiled code does in a step of a network, as operations and places in memory.

What a configuration contributes to it are numbers and names from the tables below, nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import nn

from ch12cli.training.losses import BinaryCrossEntropy, is_plain, table_row
from ch12cli.training.metrics import Right
from ch12cli.training.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, is_zero

Numbers = tuple[float, ...]
Table = dict[type[nn.Module], Callable[[Any], tuple[str, Numbers]]]  # the operation's name, and its constants

SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)  # alpha and scale, torch's constants

ACTIVATIONS: Table = {
    nn.ELU: lambda m: ("elu", (m.alpha, 1.0)),
    nn.GELU: lambda m: ("gelu_tanh" if m.approximate == "tanh" else "gelu", ()),
    nn.LeakyReLU: lambda m: ("leaky_relu", (m.negative_slope,)),
    nn.Mish: lambda m: ("mish", ()),
    nn.ReLU: lambda m: ("relu", ()),
    nn.SELU: lambda m: ("elu", SELU),
    nn.Sigmoid: lambda m: ("sigmoid", ()),
    nn.SiLU: lambda m: ("silu", ()),
    nn.Softplus: lambda m: ("softplus", (m.beta, m.threshold)),
    nn.Tanh: lambda m: ("tanh", ()),
}
OF_OUTPUT = (nn.ReLU, nn.Sigmoid, nn.Tanh)  # whose derivative is computed from the output alone
ROWWISE = {nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax"}  # of all units of a row, on the last axis

LOSSES: Table = {
    nn.BCELoss: lambda loss: ("bce", ()),
    BinaryCrossEntropy: lambda loss: ("bce", ()),
    nn.BCEWithLogitsLoss: lambda loss: ("bce_logits", ()),
    nn.CrossEntropyLoss: lambda loss: ("cross_entropy", ()),
    nn.HuberLoss: lambda loss: ("huber", (loss.delta,)),
    nn.L1Loss: lambda loss: ("l1", ()),
    nn.MSELoss: lambda loss: ("mse", ()),
    nn.NLLLoss: lambda loss: ("nll", ()),
}
OF_CLASSES = ("cross_entropy", "nll")  # the target is a class, and the mean is over the rows
OPTIMIZERS: dict[type[Optimizer], str] = {
    SGD: "SGD", Adam: "ADAM", AdamW: "ADAMW", RMSprop: "RMSPROP", Adagrad: "ADAGRAD"
}  # fmt: skip

# The operations of kernel.c: each is the function op_NAME.
ELEMENTWISE = (
    "elu", "gelu", "gelu_tanh", "leaky_relu", "mish", "relu", "sigmoid", "silu", "softplus", "tanh", "softmax",
    "log_softmax",
)  # fmt: skip
OPERATIONS = (
    "linear", "linear_grad", "linear_input_grad", "dropout", "dropout_grad", *ELEMENTWISE,
    *(f"{name}_grad" for name in ELEMENTWISE),
    "bce", "bce_logits", "cross_entropy", "huber", "l1", "mse", "nll",
)  # fmt: skip

# What the C text calls by these names: sizes and places of a structure, and what its optimiser does.
NUMBERS = (
    "FEATURES", "OUTPUTS", "TARGETS", "OUTPUTS_IN_MEAN", "BATCH", "PARAMETERS",
    "X_AT", "Y_AT", "PREDICTION_AT", "PARAMETERS_AT", "GRADIENT_AT", "STATE_AT",
    "OPTIMIZER", "STATES", "MOMENTUM", "NESTEROV", "AMSGRAD", "CENTERED", "WEIGHT_DECAY", "CLIP_VALUE", "CLIP_NORM",
    "COUNTS",
)  # fmt: skip
COUNTS = {"LARGEST": 1, "POSITIVE": 2, "HALF": 3}  # by which rule right rows are counted; 0: predictions are stored
# Numbers of an optimiser, each of all runs or of each run; of each there may be none.
SETTINGS = (
    "WEIGHT_DECAY", "MOMENTUM", "UNDAMPED", "BETA2", "MEAN_WEIGHT", "SQUARE_WEIGHT", "ALPHA", "WEIGHT", "EPS",
    "CLIP_VALUE", "CLIP_NORM",
)  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """`Operation` of kernel.c: a name of OPERATIONS, and its arguments. Places and sizes are counted in values."""

    name: str
    at: int = 0  # the input
    to: int = 0  # the output
    gradient: int = 0  # of the output; becomes that of the input
    units: int = 0  # of the input
    outputs: int = 0
    weight: int = 0  # the first of its parameters
    bias: int = -1  # -1: there is none
    layer: int = 0
    constants: Numbers = ()


class Places:
    """Hands out places in a block's memory, counted in values."""

    def __init__(self) -> None:
        self.used = 0

    def take(self, values: int) -> int:
        self.used += values
        return self.used - values


@dataclass(frozen=True)
class Program:
    """What a step does.

    forward: the operations up to the prediction; the next computes the loss, the others the gradient. numbers: by their
    names in NUMBERS. values: how many numbers of each run a block keeps in memory.
    """

    operations: tuple[Operation, ...]
    forward: int
    numbers: Mapping[str, int]
    values: int


def loss_of(loss: nn.Module) -> tuple[str, Numbers] | None:
    """Returns the operation of a loss with its constants; None if there is none for these arguments."""
    form = table_row(cast(Any, loss))
    if form is None or type(loss) not in LOSSES or not is_plain(form, loss):
        return None
    return LOSSES[type(loss)](loss)


def operations_of(
    layers: Sequence[nn.Module], loss: tuple[str, Numbers], *, batch_size: int, features: int, places: Places
) -> tuple[list[Operation], list[Operation], dict[str, int]] | None:
    """Returns the operations forward, those of the loss and backward, and sizes and places by name.

    None if a layer is not of the tables. Takes the places of the layers' values from `places`.
    """
    forward: list[Operation] = []
    backward: list[Operation] = []  # in the order of the layers
    at, units, parameter = places.take(batch_size * features), features, 0
    x_at = at
    first = next(index for index, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    widest = max([features, *(layer.out_features for layer in layers if isinstance(layer, nn.Linear))])
    gradients = [places.take(batch_size * widest) for _ in range(2)]
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            outputs, biased = layer.out_features, layer.bias is not None
            bias = parameter + units * outputs if biased else -1
            to = places.take(batch_size * outputs)
            done = Operation("linear", at, to, units=units, outputs=outputs, weight=parameter, bias=bias)
            parameter += units * outputs + outputs * biased
        elif isinstance(layer, nn.Dropout):
            if layer.p == 0:
                continue
            to = places.take(batch_size * units)
            masks = places.take(batch_size * units)
            done = Operation("dropout", at, to, units=units, weight=masks, layer=index, constants=(float(layer.p),))
        elif type(layer) in ROWWISE and cast(Any, layer).dim == -1:
            done = Operation(ROWWISE[type(layer)], at, places.take(batch_size * units), units=units)
        elif isinstance(layer, nn.Identity):
            continue
        elif type(layer) in ACTIVATIONS:
            name, constants = ACTIVATIONS[type(layer)](layer)
            overwrites = isinstance(layer, OF_OUTPUT) and index > 0 and isinstance(layers[index - 1], nn.Linear)
            to = at if overwrites else places.take(batch_size * units)
            done = Operation(name, at, to, units=units, constants=constants)
        else:
            return None
        forward.append(done)
        if index >= first:  # what comes before has no parameters
            backward.append(done)
        at, units = done.to, done.outputs or units
    name, constants = loss
    targets = 1 if name in OF_CLASSES else units
    y_at = places.take(batch_size * targets)
    made = [Operation(name, at, y_at, gradients[0], units=units, outputs=targets, constants=constants)]
    held = 0  # which of the two places of gradients holds the one of the layer's output
    for done in reversed(backward):
        made.append(replace(done, name=f"{done.name}_grad", gradient=gradients[held]))
        if done.name == "linear":
            if done is not backward[0]:
                made.append(replace(done, name="linear_input_grad", gradient=gradients[held], to=gradients[1 - held]))
            held = 1 - held
    sizes = {
        "FEATURES": features, "OUTPUTS": units, "TARGETS": targets, "BATCH": batch_size, "PARAMETERS": parameter,
        "OUTPUTS_IN_MEAN": 1 if name in OF_CLASSES else units, "X_AT": x_at, "Y_AT": y_at, "PREDICTION_AT": at,
    }  # fmt: skip
    return forward, made, sizes


def kernel_settings(optimizer: Optimizer) -> dict[str, Any]:
    """Returns the optimiser's settings as the compiled code takes them, by name: numbers, or (runs,) float64."""
    values = optimizer.values
    decay = {"WEIGHT_DECAY": values["weight_decay"]}
    if isinstance(optimizer, SGD):
        if "momentum_buffer" not in optimizer.state:
            return decay
        return decay | {"MOMENTUM": values["momentum"], "UNDAMPED": 1 - values["dampening"]}
    if isinstance(optimizer, Adam):
        beta1, beta2 = values["beta1"], values["beta2"]
        return decay | {"BETA2": beta2, "MEAN_WEIGHT": 1 - beta1, "SQUARE_WEIGHT": 1 - beta2, "EPS": values["eps"]}
    if isinstance(optimizer, RMSprop):
        momentum = {"MOMENTUM": values["momentum"]} if "momentum_buffer" in optimizer.state else {}
        return decay | momentum | {"ALPHA": values["alpha"], "WEIGHT": 1 - values["alpha"], "EPS": values["eps"]}
    return decay | {"EPS": values["eps"]}


def rule_of_counts(right: Right | None, loss: str, *, outputs: int) -> int:
    """Returns the rule of COUNTS; 0 if there is none for this loss."""
    fits = loss in OF_CLASSES if right == "largest" else outputs == 1
    return COUNTS[right.upper()] if right is not None and fits else 0


def program_of(
    layers: Sequence[nn.Module],
    loss: nn.Module,
    optimizer: Optimizer,
    *,
    features: int,
    batch_size: int,
    clips: Sequence[str],
    right: Right | None,
) -> Program | None:
    """Returns the program of a structure; None if a part of it is not of the tables.

    clips: which bounds of the gradient there are, CLIP_VALUE and CLIP_NORM. right: which rows are to be counted; None:
    predictions are wanted.
    """
    kind, known_loss = OPTIMIZERS.get(type(optimizer)), loss_of(loss)
    if kind is None or known_loss is None:
        return None
    places = Places()
    found = operations_of(layers, known_loss, batch_size=batch_size, features=features, places=places)
    if found is None:
        return None
    forward, rest, sizes = found
    parameters, states = sizes["PARAMETERS"], len(optimizer.state)
    numbers = sizes | {
        "PARAMETERS_AT": places.take(parameters),
        "GRADIENT_AT": places.take(parameters),
        "STATE_AT": places.take(parameters * states),
        "OPTIMIZER": list(OPTIMIZERS.values()).index(kind),
        "STATES": states,
        "MOMENTUM": int("momentum_buffer" in optimizer.state),
        "NESTEROV": int(getattr(optimizer, "nesterov", False)),
        "AMSGRAD": int("max_exp_avg_sq" in optimizer.state),
        "CENTERED": int("grad_avg" in optimizer.state),
        "WEIGHT_DECAY": int(not is_zero(optimizer.values["weight_decay"])),
        "CLIP_VALUE": int("CLIP_VALUE" in clips),
        "CLIP_NORM": int("CLIP_NORM" in clips),
        "COUNTS": rule_of_counts(right, known_loss[0], outputs=sizes["OUTPUTS"]),
    }
    return Program((*forward, *rest), len(forward), numbers, places.used)
