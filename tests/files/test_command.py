"""Commands that make a run: Hydra's own parser reads back every value, and shlex every word."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ch12cli.files.command import commands_of, override_value

VALUES: list[Any] = [
    None, True, False, 3, -0.5, 1e-30, "relu", "null", "1e3", "a b", "a=b", "it's", "(x), [y]", "ü#%@", "${seed}x",
    "back\\slash", "ends in \\", "a\\'b", "", [1, 2.5, "x y"], {"metric": "valid_loss", "factor": 3},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_an_override_is_read_back_as_its_value(value: Any) -> None:
    override = OverridesParser.create().parse_override(f"key={override_value(value)}")
    found = override.value()
    plain = {str(name): inner for name, inner in found.items()} if isinstance(found, dict) else found
    assert plain == value
    assert type(plain) is type(value)


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_a_resume_with_changes_is_one_correctly_quoted_command(value: Any, tmp_path: Path) -> None:
    history = {
        "parent": {"directory": "/runs/my run", "changes": {"epochs": 9}},
        "resumed": [{"changes": {"key": value}}],
    }
    first, second = commands_of(tmp_path, history)
    assert shlex.split(first) == ["ch12", "resume", "/runs/my run", "epochs=9", "--fork"]
    assert shlex.split(second) == ["ch12", "resume", str(tmp_path), f"key={override_value(value)}"]
