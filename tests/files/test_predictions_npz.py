"""predictions.npz: the same predictions come back, and a file that somebody else made is refused, whatever it holds."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.predictions.arrays import ArraysError, from_npz, to_npz
from ch12cli.files.predictions.predictions_npz import (
    DataFacts,
    FeatureCurve,
    Plane,
    PlanePoints,
    PredictedPart,
    RunPredictions,
    from_bytes,
    recorded_predictions,
    to_bytes,
)

NONE = np.zeros(0, np.int64)


def classifier() -> RunPredictions:
    shares = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    part = PredictedPart(np.array([4, 0, 9]), np.array([1.0, 0.0, 0.0]), shares, np.array([1, 0, 0]))
    found = np.array([[0, 1], [1, 1]])
    points = PlanePoints("test", np.array([0.5, 1.0, 2.0]), np.array([3.0, 2.0, 1.0]), np.array([1, 0, 0]))
    plane = Plane(("a", "ß <b>"), (0.0, 2.5), (1.0, 3.5), found, np.array([[1.0, 0.6], [0.8, 0.5]]), (points,), 3)
    return RunPredictions(DataFacts(("no", "yes"), ("a", "ß <b>"), 5, "y", "cm"), {"test": part}, plane)


def test_what_is_written_is_read_and_numpy_reads_it_too() -> None:
    given = classifier()
    found = from_bytes(to_bytes(given), "p")
    assert found.facts == given.facts
    for name in ("rows", "actual", "outputs", "found"):
        np.testing.assert_array_equal(getattr(found.parts["test"], name), getattr(given.parts["test"], name))
    assert found.plane is not None
    assert given.plane is not None
    assert (found.plane.features, found.plane.others) == (("a", "ß <b>"), 3)
    assert (found.plane.x_range, found.plane.y_range) == ((0.0, 2.5), (1.0, 3.5))
    np.testing.assert_array_equal(found.plane.found, given.plane.found)
    np.testing.assert_allclose(found.plane.sure, given.plane.sure, atol=0.5 / 255)
    np.testing.assert_array_equal(found.plane.points[0].y, [3.0, 2.0, 1.0])
    assert found.curve is None
    with np.load(io.BytesIO(to_bytes(given)), allow_pickle=False) as archive:
        assert archive["test.rows"].tolist() == [4, 0, 9]
        assert json.loads(archive["about"].tobytes())["format"] == 1
    assert to_bytes(given) == to_bytes(given)


def test_the_curve_of_a_regression_comes_back() -> None:
    part = PredictedPart(np.array([1]), np.array([2.5]), np.array([[2.25]]), NONE)
    points = PlanePoints("train", np.array([1.0]), np.array([2.5]), NONE)
    curve = FeatureCurve("x", np.array([0.0, 1.0]), np.array([1.5, 2.0]), (points,), 0)
    found = from_bytes(to_bytes(RunPredictions(DataFacts((), ("x",), 1, "y"), {"train": part}, curve=curve)), "p")
    assert found.curve is not None
    assert (found.curve.feature, found.curve.y.tolist()) == ("x", [1.5, 2.0])
    assert found.parts["train"].outputs.tolist() == [[2.25]]


def changed(name: str, value: Any) -> bytes:
    """The record of a classifier with another array; a function changes what `about` says."""
    arrays = from_npz(to_bytes(classifier()))
    if callable(value):
        about = json.loads(arrays["about"].tobytes())
        value(about)
        value = np.frombuffer(json.dumps(about).encode(), np.uint8)
    return to_npz({**arrays, name: value})


def about(change: Callable[[dict[str, Any]], object]) -> bytes:
    return changed("about", change)


def claiming(shape: str, dtype: str = "<f8") -> bytes:
    """An archive with an array whose header claims a shape or type that is not there."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("about.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    return buffer.getvalue()


HOSTILE = {
    "nothing": b"",
    "no archive": b"PK\x03\x04" + bytes(40),
    "cut": to_bytes(classifier())[:-30],
    "a large shape": claiming(f"({2**50},)"),
    "a negative shape": claiming("(-1, -1)"),
    "objects": claiming("(1,)", "|O"),
    "code": claiming("__import__('os').system('true')"),
    "another class": changed("test.found", np.array([1, 0, 7])),
    "a negative class": changed("test.found", np.array([-1, 0, 0])),
    "rows of another number": changed("test.rows", np.array([1, 2])),
    "a row below zero": changed("test.rows", np.array([1, 2, -3])),
    "outputs of another shape": changed("test.outputs", np.zeros((3, 5))),
    "no number": changed("test.actual", np.array([1.0, np.nan, 0.0])),
    "a plane that is none": changed("plane.found", np.zeros((2, 3), np.uint8)),
    "a class of the plane": changed("plane.found", np.full((2, 2), 2, np.uint8)),
    "points without an end": changed("plane.test.x", np.array([np.inf, 0.0, 0.0])),
    "an empty range": about(lambda said: said["plane"].update(x_range=[2, 2])),
    "ranges of text": about(lambda said: said["plane"].update(y_range=["a", "b"])),
    "three features": about(lambda said: said["plane"].update(features=["a", "b", "c"])),
    "a newer format": about(lambda said: said.update(format=2)),
    "names that are none": about(lambda said: said["facts"].update(class_names=[1, 2])),
    "no facts": about(lambda said: said.pop("facts")),
    "a list": about(lambda said: said.update(facts=[])),
}


@pytest.mark.parametrize("content", list(HOSTILE.values()), ids=list(HOSTILE))
def test_a_record_that_contradicts_itself_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"damaged, or no record|of another version"):
        from_bytes(content, "p")


def test_an_archive_that_would_fill_the_memory_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("about.npy", "w") as file:
        for _ in range(80):
            file.write(bytes(2**20))
    assert len(buffer.getvalue()) < 2**20
    with pytest.raises(ArraysError, match="more than"):
        from_npz(buffer.getvalue())


def test_a_record_counts_only_with_the_weights_that_it_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-q", "device=cpu", "epochs=1", "hydra.run.dir=r"]) == 0
    run = tmp_path / "r"
    before = recorded_predictions(run)
    assert before is not None
    content = (run / "predictions.npz").read_bytes()
    assert main(["resume", "r", "epochs=2", "-q"]) == 0
    after = recorded_predictions(run)
    assert after is not None
    assert not np.array_equal(after.parts["test"].outputs, before.parts["test"].outputs)
    (run / "predictions.npz").write_bytes(content)  # of the weights before
    assert recorded_predictions(run) is None
    assert main(["report", "r"]) == 0
