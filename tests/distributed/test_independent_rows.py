"""Networks and losses that several processes can share, and those that they cannot."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ch12cli.distributed.independent_rows import require_independent_rows
from ch12cli.distributed.ranks import Ranks
from ch12cli.distributed.shared_network import SharedNetwork
from ch12cli.distributed.sharing import Sharing
from ch12cli.errors import InputError
from ch12cli.training.batches import Part


class Computed(nn.Module):
    """A linear layer, then a function of its output and the mode."""

    def __init__(self, function: Callable[[Tensor, bool], Tensor]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x), self.training)


class Counting(nn.Module):
    """A network that counts its calls in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x)


def require(module: nn.Module, loss: nn.Module | None = None, *, compile_it: bool = False) -> SharedNetwork:
    torch.manual_seed(3)
    sharing = Sharing(Ranks(), 2, is_exact=True)
    network = SharedNetwork(
        module, device=torch.device("cpu"), precision="float32", compile_it=compile_it, sharing=sharing
    )
    part = Part(torch.randn(40, 3), torch.randn(40, 2))
    require_independent_rows(network, loss or nn.MSELoss(), part)
    return network


REFUSED = {
    "BatchNorm1d takes means over a whole batch": nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
    "changes its buffers in training": Counting(),
    "draws random numbers outside of layers": Computed(lambda x, training: F.dropout(x, 0.1, training)),
    "the prediction of a row depends on the other rows": Computed(lambda x, _training: x - x.mean(0)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_network_whose_rows_are_not_independent_is_refused(reason: str) -> None:
    with pytest.raises(InputError, match=f"shards=2: .*{reason}"):
        require(REFUSED[reason])


def test_a_loss_that_is_no_mean_over_the_rows_is_refused() -> None:
    class Largest(nn.Module):
        def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
            return (prediction - target).abs().max()

    with pytest.raises(InputError, match="the loss of a batch is not the mean over its rows"):
        require(nn.Linear(3, 2), Largest())
    require(nn.Linear(3, 2), nn.L1Loss(reduction="sum"))


def test_dropout_is_shared_unless_its_input_has_no_rows() -> None:
    usual = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Dropout(0.5), nn.AlphaDropout(0.3), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in usual.state_dict().items()}
    network = require(usual)
    assert all(torch.equal(value, before[name]) for name, value in usual.state_dict().items())
    assert network.module.training
    torch.manual_seed(3)
    torch.randn(40, 3), torch.randn(40, 2)
    stream = torch.get_rng_state()
    require(usual)
    assert torch.equal(torch.get_rng_state(), stream)

    drop = nn.Dropout(0.5)
    turned = Computed(lambda x, _training: drop(x.t()).t())
    turned.drop = drop
    with pytest.raises(InputError, match="the input of Dropout has 2 rows for 40 rows of the batch"):
        require(turned)
    with pytest.raises(InputError, match="compile=true: Dropout cannot be shared out"):
        require(usual, compile_it=True)
