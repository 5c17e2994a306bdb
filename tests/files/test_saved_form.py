"""The bytes of torch.save from pieces, against torch itself."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ch12cli.files.compact.saved_form import SavedForms
from ch12cli.saved.job_files import with_tensors
from ch12cli.training.checkpoint import SEAL, fingerprint, fingerprinted, load

STATE: dict[str, Any] = {
    "epoch": 3,
    "network": {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2)},
    "best": {"value": [0.5], "epoch": [2], "known": [None], "names": ["a", "b"]},
    "moments": {"square": np.zeros((), np.int64), "none": np.zeros((0, 4))},
    "settings": "{}",
    "name": "same for all",
}
VALUES = (0, 1, 255, 256, 65_535, 65_536, -1, 2**31, 2**70, 0.1, -0.0, float("nan"), float("inf"), True, False, None)


def by_torch(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(with_tensors(state), buffer)
    return buffer.getvalue()


class Counted:
    """torch.save, with the number of its calls."""

    def __init__(self, *, older: bool = False) -> None:
        self.older, self.calls = older, 0

    def __call__(self, state: Mapping[str, Any]) -> bytes:
        self.calls += 1
        buffer = io.BytesIO()
        torch.save(with_tensors(state), buffer, _use_new_zipfile_serialization=not self.older)
        return buffer.getvalue()


def forms_of(save: Counted) -> SavedForms:
    return SavedForms(
        save, texts=["settings"], sealed_parts=lambda state: fingerprinted(with_tensors(state)), seal=SEAL
    )


def drawn(draw: np.random.Generator) -> dict[str, Any]:
    """A state of the same form, with other values."""
    number = lambda: VALUES[draw.integers(len(VALUES))]  # noqa: E731
    return {
        "epoch": number(),
        "network": {"weight": draw.normal(size=(2, 3)).astype(np.float32), "bias": draw.normal(size=2)},
        "best": {"value": [number()], "epoch": [number()], "known": [number()], "names": ["a", "b"]},
        "moments": {"square": np.array(draw.integers(9)), "none": np.zeros((0, 4))},
        "settings": "é\n\ud800 {1: 2}"[: draw.integers(12)],
        "name": "same for all",
    }


def test_files_from_pieces_are_those_of_torch(tmp_path: Path) -> None:
    save, draw = Counted(), np.random.default_rng(0)
    forms = forms_of(save)
    for _ in range(60):
        state = drawn(draw)
        assert forms.plain(state, like=0) == by_torch(state)
        assert forms.sealed(state, like=0) == by_torch({**state, SEAL: fingerprint(with_tensors(state))})
    assert save.calls < 100  # a few for a form, and one for each length of its pickle
    assert forms.forms.keys() == {(False, 0), (True, 0)}
    (tmp_path / "last.pt").write_bytes(forms.sealed(STATE, like=0))
    assert load(tmp_path / "last.pt")["best"] == STATE["best"]


def test_values_that_are_equal_but_of_other_types_are_told_apart() -> None:
    forms = forms_of(Counted())
    for value in (1, 1.0, True, 0, 0.0, -0.0, False, 1, 0.0, -0.0):
        state = STATE | {"epoch": value}
        assert forms.sealed(state, like=0) == by_torch({**state, SEAL: fingerprint(with_tensors(state))})


def test_a_form_is_made_for_its_second_state() -> None:
    save = Counted()
    forms = forms_of(save)
    for like in range(5):
        forms.plain(STATE, like=like)
    assert (save.calls, len(forms.forms)) == (5, 0)
    forms.plain(STATE, like=3)
    assert len(forms.forms) == 1
    calls = save.calls
    forms.plain(STATE, like=3)
    assert save.calls == calls


def test_a_state_that_does_not_fit_its_form_is_left_to_torch() -> None:
    forms = forms_of(Counted())
    others: list[dict[str, Any]] = [
        {"network": {"weight": np.zeros((3, 3), np.float32), "bias": np.zeros(2)}},
        {"network": {"weight": np.zeros((2, 3), np.float64), "bias": np.zeros(2)}},
        {"network": {"weight": np.zeros((2, 3), np.float32)}},
        {"best": {"value": 0.5, "epoch": [2], "known": [None], "names": ["a", "b"]}},
        {"best": {"value": [], "epoch": [2], "known": [None], "names": ["a", "b"]}},
        {"epoch": [3]},
    ]
    for other in [{}, {}, *others, {}]:
        state = STATE | other
        assert forms.sealed(state, like=0) == by_torch({**state, SEAL: fingerprint(with_tensors(state))}), other
    assert len(forms.forms) == 1


@pytest.mark.parametrize("older", [True, False])
def test_files_that_are_laid_out_in_another_way_are_left_to_torch(older: bool) -> None:
    save, draw = Counted(older=older), np.random.default_rng(0)
    forms = forms_of(save)
    for _ in range(5):
        state = drawn(draw)
        seal = hashlib.sha256(b"".join(fingerprinted(with_tensors(state)))).hexdigest()
        found, expected = forms.sealed(state, like=0), save({**state, SEAL: seal})
        if older:  # files of this layout hold addresses in memory
            found, expected = (b"".join(fingerprinted(torch.load(io.BytesIO(each)))) for each in (found, expected))
        assert found == expected
    assert list(forms.forms.values()).count(None) == older
