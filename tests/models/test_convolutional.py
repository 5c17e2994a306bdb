"""The convolutional network against layers written out by hand, alone, in a loop and in a stack."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.config.check import check
from ch12cli.config.choices import default_choices
from ch12cli.data import image_folder
from ch12cli.data.prepared import prepare
from ch12cli.errors import InputError
from ch12cli.models import cnn
from ch12cli.models.init import INITS
from ch12cli.sweeps.trials import layer_values
from tests.conftest import Train
from tests.sweeps.driver import alone, one_thread, relative, settings_of, stack_of

LIKE_ALONE = 1e-9  # relative, of weights and of every column of metrics.csv


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


def by_hand(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two levels of 3 and 6 channels over images of 3 x 9 x 13, and 4 outputs."""
    return nn.Sequential(
        nn.Unflatten(1, (3, 9, 13)),
        nn.Conv2d(3, 3, 5, padding=2),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 6, 5, padding=2),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 2 * 3, 4),
    )


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(6)
    return make()


def test_a_cnn_is_its_layers_in_order_with_the_same_initial_weights() -> None:
    mine = seeded(lambda: cnn((3, 9, 13), 4, activation=nn.Tanh, channels=3, kernel_size=5))
    theirs = seeded(lambda: by_hand(nn.Tanh))
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value)
    x = torch.randn(7, 3 * 9 * 13, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mine(x), theirs(x))


def test_a_row_of_features_is_reshaped_to_channels_height_and_width() -> None:
    layer = cnn((2, 2, 3), 1, channels=1, depth=1, kernel_size=1)[0]
    assert layer(torch.arange(12.0).reshape(1, 12)).tolist() == [[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]]


def test_without_a_convolution_it_is_a_linear_layer_and_its_output() -> None:
    kinds = [type(layer) for layer in cnn((1, 2, 2), 3, depth=0, output="softmax").children()]
    assert kinds == [nn.Unflatten, nn.Flatten, nn.Linear, nn.Softmax]


@pytest.mark.parametrize("init", INITS)
def test_an_init_draws_only_the_weights_and_sets_biases_to_zero(init: str) -> None:
    model = seeded(lambda: cnn((3, 9, 13), 4, channels=3, kernel_size=5, init=init))
    after = torch.rand(2)
    torch.manual_seed(6)
    layers = [layer for layer in by_hand().children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    torch.manual_seed(6)
    wanted = [INITS[init](torch.empty(layer.weight.shape)) for layer in layers]
    assert torch.equal(torch.rand(2), after)
    found = [layer for layer in model.children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, weight in zip(found, wanted, strict=True):
        assert torch.equal(layer.weight, weight)
        assert layer.bias is not None
        assert not layer.bias.any()


def test_kaimings_spread_counts_a_kernels_pixels_as_inputs() -> None:
    weight = cnn((32, 8, 8), 2, channels=64, depth=1, kernel_size=3, init="kaiming").get_parameter("1.weight")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 3 * 3)), rel=0.02)  # He et al. 2015


def test_rows_that_are_not_images_or_too_small_ones_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        cnn(None, 2)
    assert refused.value.messages == [
        "model=cnn: needs images, and the rows of the data set are not images; use model=mlp"
    ]
    with pytest.raises(InputError) as refused:
        cnn((1, 9, 5), 2, depth=3)
    assert refused.value.messages == [
        "model.depth=3: each level halves the image, and 9 x 5 can be halved 2 times at most; use fewer levels, or "
        "larger images"
    ]
    cnn((1, 9, 5), 2, depth=2)


def problems(**values: object) -> list[str]:
    settings = settings_of({}, dataset="image_folder", model="cnn")
    for key, value in values.items():
        group, _, name = key.partition("_")
        settings[group][name] = value
    return [str(each) for each in check(settings, default_choices() | {"dataset": "image_folder", "model": "cnn"})]


def test_convolutions_that_do_not_fit_the_images_are_refused_before_data_are_read() -> None:
    assert problems() == []
    assert problems(model_depth=5) == [
        "model.depth=5: each convolution halves the image, and one of 24 x 24 (dataset.height, dataset.width) can be "
        "halved 4 times at most"
    ]
    assert problems(model_kernel_size=4) == [
        "model.kernel_size=4: must be an odd number from 1 to 99 (conf/model/cnn.yaml)"
    ]
    settings = settings_of({}, dataset="image_folder", model="cnn") | {"dataset": settings_of({})["dataset"]}
    assert [str(each) for each in check(settings, default_choices() | {"model": "cnn"})] == [
        "model=cnn: needs images, and dataset=iris has none; use dataset=image_folder or model=mlp"
    ]


def test_the_values_of_all_layers_for_a_row_are_counted() -> None:
    given = [3 * 9 * 13, *[3 * 9 * 13] * 2, 3 * 4 * 6, *[6 * 4 * 6] * 2, 6 * 2 * 3, 6 * 2 * 3, 4]
    assert layer_values(by_hand(), torch.zeros(2, 3 * 9 * 13)) == sum(given)


def test_a_run_equals_the_loop_by_hand_bit_for_bit(train: Train) -> None:
    words = ["dataset=image_folder", "model=cnn", "model.channels=4", "batch_size=16", "epochs=4", "optimizer.lr=0.003"]
    outcome = train(*words, "seed=5")
    parts = prepare(image_folder(), test_size=0.2, valid_size=0.2, split="stratified", scaling="global")
    x, y = torch.tensor(parts.train.x), torch.tensor(parts.train.y).float().reshape(-1, 1)
    assert x.dtype == torch.float32
    torch.manual_seed(5)
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 24, 24)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 6 * 6, 1),
        nn.Sigmoid(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    losses = []
    for _ in range(4):
        total = 0.0
        for x_batch, y_batch in loader:
            loss = nn.BCELoss()(model(x_batch), y_batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(x_batch)
        losses.append(total / len(x))
    assert [row["train_loss"] for row in outcome.rows] == losses
    for mine, theirs in zip(outcome.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_each_run_of_a_stack_equals_the_single_run() -> None:
    common = {"batch_size": 16, "epochs": 6, "precision": "float64", "device": "cpu", "model.channels": 4}
    each = [{"seed": seed, "optimizer.lr": lr} for seed, lr in ((3, 0.01), (1, 0.003), (4, 0.001))]
    settings = [settings_of(common | one, dataset="image_folder", model="cnn", activation="tanh") for one in each]
    together = stack_of(settings)
    at_first = together.network.parameters.detach().clone()
    together.go(6)
    for run in range(3):
        training, network = alone(settings[run], together.task)
        assert torch.equal(network.parameters[network.places], at_first[run])
        for epoch, stacked in zip(training.epochs(), together.epochs, strict=True):
            for name, value in epoch.columns.items():
                assert name == "seconds" or relative(stacked.columns[name][run], value[0]) < LIKE_ALONE, name
            assert relative(together.weights[epoch.number - 1][run], network.parameters[network.places]) < LIKE_ALONE
    assert relative(together.weights[-1][0], together.weights[-1][1]) > 1e-3
