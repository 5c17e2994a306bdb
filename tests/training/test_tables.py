"""The shipped choices against the tables of written-out forms: what is forgotten in a table fails here."""

from typing import Any

import pytest
from torch import nn

from ch12cli.config.choices import choices_of_group, content
from ch12cli.config.targets import Target, arguments_of, locate
from ch12cli.training.activations import ACTIVATIONS, activation
from ch12cli.training.losses import LOSSES
from ch12cli.training.optimizers import OPTIMIZERS

# Choices that are left to torch on purpose: add one here, or a row to the table.
LOSSES_BY_AUTOGRAD: set[str] = set()
ACTIVATIONS_BY_AUTOGRAD: set[str] = set()
OPTIMIZERS_OF_SINGLE_RUNS: set[str] = set()


def shipped(group: str) -> dict[str, dict[str, Any]]:
    """The content of each shipped choice of a group."""
    return {choice.name: content(choice.file) for choice in choices_of_group(group)}


def test_the_choices_of_the_groups_are_found() -> None:
    assert {"mse", "cross_entropy"} <= set(shipped("loss"))
    assert {"relu", "tanh"} <= set(shipped("activation"))
    assert {"sgd", "adam"} <= set(shipped("optimizer"))


@pytest.mark.parametrize("choice", sorted({*shipped("loss")} - {"auto"}))
def test_every_loss_has_a_row_or_is_left_to_autograd(choice: str) -> None:
    kind = locate("loss", shipped("loss")[choice]["_target_"])
    assert (kind in LOSSES) is (choice not in LOSSES_BY_AUTOGRAD), f"{choice}: add a row to LOSSES in losses.py"


@pytest.mark.parametrize("choice", sorted(shipped("activation")))
def test_every_activation_has_a_row_that_takes_its_arguments_or_is_left_to_autograd(choice: str) -> None:
    node = shipped("activation")[choice]
    module = locate("activation", node["_target_"])(**arguments_of(Target.from_node(node)))
    assert isinstance(module, nn.Module)
    known = type(module) in ACTIVATIONS and activation(module, 1) is not None
    assert known is (choice not in ACTIVATIONS_BY_AUTOGRAD), f"{choice}: add a row to ACTIVATIONS in activations.py"


@pytest.mark.parametrize("choice", sorted(shipped("optimizer")))
def test_every_optimizer_has_a_stacked_form_or_is_for_single_runs(choice: str) -> None:
    known = shipped("optimizer")[choice]["_target_"] in OPTIMIZERS
    assert known is (choice not in OPTIMIZERS_OF_SINGLE_RUNS), f"{choice}: add a row to OPTIMIZERS in optimizers.py"
