"""Demonstrations of section 12.3: hidden layers, optimizers, and softmax before cross-entropy."""

import numpy as np
import torch
from torch import Tensor, nn

from ch12cli.book.demo import Demo
from ch12cli.data import iris, two_class
from ch12cli.data.prepared import prepare
from ch12cli.models import mlp
from ch12cli.plots.plot import Axis, Field, Line, Lines, Plot, Values

EPOCHS = 200  # for the two-class toy data, as in the book
CELLS = 120  # points of a boundary plot along each axis


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss_fn: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    batch_size: int,
) -> tuple[Values, Values]:
    """Trains with the chapter's loop. Returns the mean loss and accuracy of each epoch, (epochs,) each."""
    losses, accuracies = np.zeros(epochs), np.zeros(epochs)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            prediction = model(x[rows])
            loss = loss_fn(prediction, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right = (prediction >= 0.5) == y[rows] if prediction.shape[1] == 1 else prediction.argmax(1) == y[rows]
            losses[epoch] += loss.item() * len(rows) / len(x)
            accuracies[epoch] += right.sum().item() / len(x)
    return losses, accuracies


def curves(found: dict[str, tuple[Values, Values]]) -> list[Lines]:
    """Returns a panel of losses and a panel of accuracies."""
    epochs = np.arange(1.0, 1 + len(next(iter(found.values()))[0]))
    return [
        Lines(Axis("epoch"), Axis(label), [Line(name, epochs, pair[index]) for name, pair in found.items()])
        for index, label in enumerate(("training loss", "training accuracy"))
    ]


def xor() -> Demo:
    """12.3: compares a single unit and two hidden layers on the two-class toy data."""
    table = two_class("xor", 200, seed=1)
    x = torch.tensor(table.features[:100], dtype=torch.float32)
    y = torch.tensor(table.target[:100], dtype=torch.float32).unsqueeze(1)
    found, panels = {}, []
    for name, rate, layers in (("one unit", 0.001, ()), ("2-4-4-1", 0.015, (4, 4))):
        torch.manual_seed(1)
        model = mlp(2, 1, activation=nn.ReLU, width=4, depth=len(layers), output="sigmoid")
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        found[name] = fit(model, x, y, nn.BCELoss(), optimizer, epochs=EPOCHS, batch_size=2)
        panels.append(draw_boundary_field(model, x, y))
    lines = [f"{name}: accuracy {accuracies[-1]:.2f} after {EPOCHS} epochs" for name, (_, accuracies) in found.items()]
    about = "No straight line parts the two classes; two hidden layers with ReLU bend it round the corners."
    plots = [
        Plot("XOR: learning curves", list(curves(found))),
        *(Plot(f"XOR: boundary of {name}", [panel]) for name, panel in zip(found, panels, strict=True)),
    ]
    return Demo("XOR: what hidden layers are for", about, lines, plots)


@torch.no_grad()
def draw_boundary_field(model: nn.Module, x: Tensor, y: Tensor) -> Field:
    """Returns the class predicted by a network with one sigmoid output at each point of [-1.2, 1.2]²."""
    ends = (-1.2, 1.2)
    ticks = torch.linspace(*ends, CELLS)
    points = torch.cartesian_prod(ticks, ticks).flip(1)  # the first feature varies fastest: (row, column)
    sure = model(points)[:, 0].double().numpy().reshape(CELLS, CELLS)
    classes = y[:, 0].long().numpy()
    rows = [("train", x[:, 0].double().numpy(), x[:, 1].double().numpy(), classes)]
    return Field(
        Axis("x1"), Axis("x2"), ends, ends, ("0", "1"), (sure >= 0.5).astype(np.int64), np.maximum(sure, 1 - sure), rows
    )


def iris_data() -> tuple[Tensor, Tensor]:
    """Returns the chapter's training part of Iris, scaled as in the book."""
    data = prepare(iris(), test_size=50, split="random", split_seed=1, scaling="global")
    return torch.tensor(data.train.x, dtype=torch.float32), torch.tensor(data.train.y)


def optimizers() -> Demo:
    """12.3: compares SGD with Adam from the same initial weights."""
    x, y = iris_data()
    found = {}
    for name, kind, rate in (("SGD, lr 0.01", torch.optim.SGD, 0.01), ("Adam, lr 0.001", torch.optim.Adam, 0.001)):
        torch.manual_seed(1)
        model = mlp(4, 3, activation=nn.Sigmoid, width=16)
        found[name] = fit(
            model, x, y, nn.CrossEntropyLoss(), kind(model.parameters(), lr=rate), epochs=60, batch_size=2
        )
    lines = [f"{name}: loss {losses[-1]:.3f}, accuracy {shares[-1]:.2f}" for name, (losses, shares) in found.items()]
    about = (
        "The same network, initial weights and order of rows. SGD's steps are as long as the gradient, which is small "
        "where sigmoid units are; Adam divides each by its own running size, and so moves at one pace everywhere."
    )
    return Demo("SGD beside Adam", about, lines, [Plot("Iris: SGD and Adam", list(curves(found)))])


def softmax_twice() -> Demo:
    """12.3: shows the effect of softmax before cross-entropy on training."""
    x, y = iris_data()
    found = {}
    for name, output in (("logits", "none"), ("softmax first", "softmax")):
        torch.manual_seed(1)
        model = mlp(4, 3, activation=nn.Sigmoid, width=16, output=output)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
        found[name] = fit(model, x, y, nn.CrossEntropyLoss(), optimizer, epochs=100, batch_size=2)
    floor = -float(torch.log_softmax(torch.tensor([1.0, 0.0, 0.0]), 0)[0])
    lines = [f"{name}: loss {losses[-1]:.3f}, accuracy {shares[-1]:.2f}" for name, (losses, shares) in found.items()]
    about = (
        "nn.CrossEntropyLoss takes logits and applies softmax itself. The book's Iris network gives it softmax, so "
        f"that its loss cannot fall below {floor:.3f}, which is what (1, 0, 0) costs, and gradients are smaller: it "
        "learns more slowly, and ends as accurate on data as easy as these."
    )
    return Demo(
        "Softmax twice", about, lines, [Plot("Iris: cross-entropy on logits, and on softmax", list(curves(found)))]
    )
