"""Writes the C source of an epoch of many runs, for one structure of network, loss and optimiser.

What a configuration contributes are numbers and names from the tables below, nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

import torch
from torch import Tensor, nn

from ch12cli.training.losses import BinaryCrossEntropy, is_plain, table_row
from ch12cli.training.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, is_zero

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Function:
    """An elementwise activation of the kernel. of_output: whether its derivative is computed from the output alone."""

    name: str
    constants: Numbers = ()
    of_output: bool = False


SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)  # alpha and scale, torch's constants

ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Function]] = {
    nn.ELU: lambda m: Function("elu", (m.alpha, 1.0)),
    nn.GELU: lambda m: Function("gelu_tanh" if m.approximate == "tanh" else "gelu"),
    nn.LeakyReLU: lambda m: Function("leaky_relu", (m.negative_slope,)),
    nn.Mish: lambda m: Function("mish"),
    nn.ReLU: lambda m: Function("relu", of_output=True),
    nn.SELU: lambda m: Function("elu", SELU),
    nn.Sigmoid: lambda m: Function("sigmoid", of_output=True),
    nn.SiLU: lambda m: Function("silu"),
    nn.Softplus: lambda m: Function("softplus", (m.beta, m.threshold)),
    nn.Tanh: lambda m: Function("tanh_", of_output=True),
}
ROWWISE = {nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax"}  # of all units of a row, on the last axis

LOSSES: dict[type[nn.Module], tuple[str, Callable[[Any], Numbers]]] = {
    nn.BCELoss: ("bce", lambda loss: ()),
    BinaryCrossEntropy: ("bce", lambda loss: ()),
    nn.BCEWithLogitsLoss: ("bce_logits", lambda loss: ()),
    nn.CrossEntropyLoss: ("cross_entropy", lambda loss: ()),
    nn.HuberLoss: ("huber", lambda loss: (loss.delta,)),
    nn.L1Loss: ("l1", lambda loss: ()),
    nn.MSELoss: ("mse", lambda loss: ()),
    nn.NLLLoss: ("nll", lambda loss: ()),
}
OF_CLASSES = ("cross_entropy", "nll")  # the target is a class, and the mean is over the rows
OPTIMIZERS: dict[type[Optimizer], str] = {
    SGD: "SGD", Adam: "ADAM", AdamW: "ADAMW", RMSprop: "RMSPROP", Adagrad: "ADAGRAD"
}  # fmt: skip


def constant(value: float) -> str:
    """Returns a number as a constant of C, exactly."""
    return f"(REAL){float(value).hex()}"


def in_c(name: str, *arguments: str, constants: Numbers = ()) -> str:
    return f"{name}({', '.join([*arguments, *map(constant, constants)])})"


class Places:
    """Hands out places in a block's memory, counted in values."""

    def __init__(self) -> None:
        self.used = 0

    def take(self, values: int) -> int:
        self.used += values
        return self.used - values


@dataclass(frozen=True)
class KernelSource:
    """The text of a kernel.

    values: how many numbers of each run a block keeps in memory; outputs: of the network; settings: names, in order.
    """

    text: str
    values: int
    outputs: int
    settings: tuple[str, ...]


def loss_of(loss: nn.Module) -> tuple[str, Numbers] | None:
    """Returns the kernel's name of a loss with its constants; None if it has none for these arguments."""
    form = table_row(cast(Any, loss))
    if form is None or type(loss) not in LOSSES or not is_plain(form, loss):
        return None
    name, constants = LOSSES[type(loss)]
    return name, constants(loss)


def write_layers(
    layers: Sequence[nn.Module], loss: tuple[str, Numbers], *, batch_size: int, features: int, places: Places
) -> tuple[list[str], int, int] | None:
    """Returns the lines of `forward_backward`, the number of parameters, and the outputs.

    None if a layer is not of the kernel's tables. Takes the places of the layers' values from `places`.
    """
    forward: list[str] = []
    backward: list[str] = []
    at, units, parameter = places.take(batch_size * features), features, 0
    x_at = at
    first = next(index for index, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    widest = max([features, *(layer.out_features for layer in layers if isinstance(layer, nn.Linear))])
    gradients = [places.take(batch_size * widest) for _ in range(2)]
    held = 0  # which of the two places of gradients holds the one of the layer's output
    steps: list[tuple[list[str], bool]] = []  # backward statements of each layer, and whether they swap the places
    for index, layer in enumerate(layers):
        block = f"for (int k = 0; k < rows * {units}; k++)"
        if isinstance(layer, nn.Linear):
            outputs = layer.out_features
            weight = f"p + {parameter} * S"
            gradient = f"g + {parameter} * S"
            parameter += units * outputs
            bias, bias_gradient = ("0", "0") if layer.bias is None else (f"p + {parameter} * S", f"g + {parameter} * S")
            parameter += 0 if layer.bias is None else outputs
            to = places.take(batch_size * outputs)
            forward.append(f"linear(rows, {units}, {outputs}, base + {at} * S, {weight}, {bias}, base + {to} * S);")
            lines = [
                f"linear_grad(rows, {units}, {outputs}, @d, base + {at} * S, {gradient}, {bias_gradient});",
            ]
            if index > first:
                lines.append(f"linear_input_grad(rows, {units}, {outputs}, @d, {weight}, @o);")
            steps.append((lines, True))
            at, units = to, outputs
        elif isinstance(layer, nn.Dropout):
            if layer.p == 0:
                continue
            masks = places.take(batch_size * units)
            to = places.take(batch_size * units)
            mixed = f"(Bits)((e->masks_before + step + 1) * 1000003 + {index}) * 0x5851f42d4c957f2dULL"
            mask = f"dropout_mask(e->seeds, lanes->run, mixed, k, {float(layer.p).hex()})"
            forward.append(
                f"{{ Bits mixed = {mixed}; {block} {{ V m = {mask}; base[({masks} + k) * S] = m; "
                f"base[({to} + k) * S] = base[({at} + k) * S] * m; }} }}"
            )
            steps.append(([f"{block} (@d)[k * S] *= base[({masks} + k) * S];"], False))
            at = to
        elif type(layer) in ROWWISE and cast(Any, layer).dim == -1:
            name, to = ROWWISE[type(layer)], places.take(batch_size * units)
            rows = "for (int row = 0; row < rows; row++)"
            here, there = (f"base + ({place} + row * {units}) * S" for place in (at, to))
            forward.append(f"{rows} {name}({here}, {there}, {units});")
            steps.append(([f"{rows} {name}_grad(@d + row * {units} * S, {there}, {units});"], False))
            at = to
        elif isinstance(layer, nn.Identity):
            continue
        elif type(layer) in ACTIVATIONS:
            function = ACTIVATIONS[type(layer)](layer)
            constants = function.constants
            overwrites = function.of_output and index > 0 and isinstance(layers[index - 1], nn.Linear)
            to = at if overwrites else places.take(batch_size * units)
            x, y = f"base[({at} + k) * S]", f"base[({to} + k) * S]"
            forward.append(f"{block} {y} = {in_c(function.name, x, constants=constants)};")
            derivative = in_c(f"{function.name}_grad", "(@d)[k * S]", x, y, constants=constants)
            steps.append(([f"{block} (@d)[k * S] = {derivative};"], False))
            at = to
        else:
            return None
        if index < first:  # what comes before has no parameters
            steps.clear()
    for lines, swaps in reversed(steps):
        d, o = (f"base + {gradients[(held + n) % 2]} * S" for n in (0, 1))
        backward += [line.replace("@d", d).replace("@o", o) for line in lines]
        held = (held + swaps) % 2
    name, constants = loss
    targets = 1 if name in OF_CLASSES else units
    y_at = places.take(batch_size * targets)
    prediction, target, gradient = (
        f"base + ({place} + row * {size}) * S" for place, size in ((at, units), (y_at, targets), (gradients[0], units))
    )
    term = in_c(name, prediction, target, gradient, str(units), "scale", constants=constants)
    forward.append(f"V total = ZERO; for (int row = 0; row < rows; row++) total += {term};")
    defines = [
        f"#define {key} {value}"
        for key, value in {
            "FEATURES": features, "OUTPUTS": units, "TARGETS": targets, "BATCH": batch_size, "PARAMETERS": parameter,
            "OUTPUTS_IN_MEAN": 1 if name in OF_CLASSES else units, "X_AT": x_at, "Y_AT": y_at, "PREDICTION_AT": at,
        }.items()
    ]  # fmt: skip
    head = (
        "INLINE V forward_backward(const Epoch *e, V *base, int rows, V scale, Whole step, const Lanes *lanes) {\n"
        "  V *p = base + PARAMETERS_AT * S, *g = base + GRADIENT_AT * S;"
    )
    body = [*defines, head, *(f"  {line}" for line in [*forward, *backward]), "  return total;", "}"]
    return body, parameter, units


def kernel_settings(optimizer: Optimizer) -> dict[str, Any]:
    """Returns the optimiser's settings as the kernel takes them, by name: numbers, or (runs,) float64.

    WEIGHT_DECAY is always among them: it may be zero for the runs that are left of a stack.
    """
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


def source_of(
    layers: Sequence[nn.Module],
    loss: nn.Module,
    optimizer: Optimizer,
    *,
    features: int,
    rows: int,
    batch_size: int,
    clips: Mapping[str, Any],
) -> KernelSource | None:
    """Returns the kernel of a structure; None if a part of it is not of the kernel's tables.

    clips: bounds of the gradient by name, CLIP_VALUE and CLIP_NORM, where there are any.
    """
    kind, written_loss = OPTIMIZERS.get(type(optimizer)), loss_of(loss)
    if kind is None or written_loss is None:
        return None
    places = Places()
    written = write_layers(layers, written_loss, batch_size=batch_size, features=features, places=places)
    if written is None:
        return None
    body, parameters, outputs = written
    unused = {"WEIGHT_DECAY"} if is_zero(optimizer.values["weight_decay"]) else set()
    names = tuple(name for name in (*kernel_settings(optimizer), *clips) if name not in unused)
    states = len(optimizer.state)
    defines: dict[str, object] = {name: code for code, name in enumerate(OPTIMIZERS.values())}
    defines |= {"LAST_BATCH": rows % batch_size, "OPTIMIZER": kind, "STATES": states, "SETTINGS": len(names)}
    defines |= {name: int(name in names) for name in ("WEIGHT_DECAY", "MOMENTUM", "CLIP_VALUE", "CLIP_NORM")}
    defines |= {"NESTEROV": int(getattr(optimizer, "nesterov", False))}
    defines |= {"AMSGRAD": int("max_exp_avg_sq" in optimizer.state), "CENTERED": int("grad_avg" in optimizer.state)}
    defines |= {f"{name}_AT": place for place, name in enumerate(names)}
    defines |= {"PARAMETERS_AT": places.take(parameters), "GRADIENT_AT": places.take(parameters)}
    defines |= {"STATE_AT": places.take(parameters * states)}
    package = files("ch12cli.fused")
    double = optimizer.parameters.dtype == torch.float64
    text = [
        *(f"#define {name} {value}" for name, value in number_type(double).items()),
        package.joinpath("kernel.c").read_text(encoding="utf-8"),
        *(f"#define {name} {value}" for name, value in defines.items()),
        *body,
        package.joinpath("epoch.c").read_text(encoding="utf-8"),
    ]
    return KernelSource("\n".join(text), places.used, outputs, names)


def number_type(double: bool) -> dict[str, str]:
    """Returns the kernel's definitions for double or single precision."""
    if double:
        return {"DOUBLE": "1", "REAL": "double", "INTEGER": "long long", "SQRT": "sqrt", "LIBRARY(name)": "name"}
    return {"DOUBLE": "0", "REAL": "float", "INTEGER": "int", "SQRT": "sqrtf", "LIBRARY(name)": "name##f"}


def flat_targets(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns the targets as the kernel reads them: (rows, targets), a class as a number."""
    return y.reshape(len(y), -1).to(dtype).contiguous()
