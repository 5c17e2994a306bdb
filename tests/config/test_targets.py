"""Arguments read from source against those that Python tells of the imported objects."""

import pytest

from ch12cli.config.choices import choices_of_group, keys_of_choice
from ch12cli.config.schema import GROUPS
from ch12cli.config.targets import arguments_in_source, locate, parameters_of

TARGETS = {
    str(target)
    for group in GROUPS
    for choice in choices_of_group(group)
    if (target := keys_of_choice(choice).get(f"{group}._target_")) not in (None, "auto", "???")
}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_signature_read_from_source_equals_pythons(target: str) -> None:
    found = arguments_in_source(target)
    parameters = parameters_of(locate("x", target))
    assert parameters is not None
    if found is not None:
        assert set(found) == set(parameters) - {"params"}


def test_most_signatures_can_be_read_from_source() -> None:
    told = {target for target in TARGETS if arguments_in_source(target) is not None}
    assert len(told) > 20
    assert {"torch.optim.Adam", "torch.nn.ReLU", "ch12cli.models.mlp"} <= told
    for target in ("torch.optim.NoSuch", "torch.nn.Identity", "nowhere.at.all", "json.loads", "x", ""):
        assert arguments_in_source(target) is None
