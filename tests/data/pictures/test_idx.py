"""Files of the MNIST family, written by their specification, and what is wrong with such files as whole messages."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ch12cli.cli.main import main
from ch12cli.data import idx, prepare
from ch12cli.errors import InputError
from ch12cli.saved.predict import predict
from tests.conftest import Train

PIXELS = np.random.default_rng(1).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 3
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def written(array: npt.NDArray[Any], kind: int = 8) -> bytes:
    """The bytes of a file, by the specification: two zeros, the type, the dimensions, sizes in big endian, values."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def digits(folder: Path) -> Path:
    """20 pictures to train on and 10 to test, in the folder `d`; those to train on are compressed."""
    place = folder / "d"
    place.mkdir()
    for name, array in zip(NAMES, (PIXELS[:20], LABELS[:20], PIXELS[20:], LABELS[20:]), strict=True):
        content = written(array)
        if name.startswith("train"):
            (place / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (place / name).write_bytes(content)
    return place


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as refused:
        read()
    return str(refused.value)


def test_pictures_become_rows_and_the_files_of_the_test_part_become_the_test_part(digits: Path) -> None:
    table = idx("d")
    assert (table.rows, table.test_rows, table.shape, table.class_names) == (30, 10, (1, 4, 5), ("0", "1", "2"))
    assert np.array_equal(table.features, PIXELS.reshape(30, 20) / np.float32(255))
    assert np.array_equal(table.target, LABELS)
    parts = prepare(table, valid_size=0.25, split="stratified")
    assert parts.valid is not None
    assert parts.test is not None
    assert (len(parts.train.rows), len(parts.valid.rows)) == (15, 5)
    assert parts.test.rows.tolist() == list(range(20, 30))
    assert sorted([*parts.train.rows, *parts.valid.rows]) == list(range(20))
    folded = prepare(table, folds=4, fold=1)
    assert folded.valid is not None
    assert len(folded.valid.rows) == 5
    message = refusal(lambda: prepare(table, test_size=0.2))
    assert message == "dataset.test_size=0.2: the data set has a test part of its own; use dataset.test_size=0"


def test_without_files_of_a_test_part_the_rows_are_divided_as_those_of_any_table(digits: Path) -> None:
    table = idx("d", test_images=None, test_labels=None, class_names=["a", "b", "c"])
    assert (table.rows, table.test_rows, table.class_names) == (20, 0, ("a", "b", "c"))
    parts = prepare(table, test_size=5)
    assert parts.test is not None
    assert len(parts.test.rows) == 5


def test_labels_that_do_not_begin_with_0_are_classes_in_their_order(digits: Path) -> None:
    for name, labels in zip(NAMES[1::2], (LABELS[:20], LABELS[20:]), strict=True):
        (digits / name).write_bytes(written(labels * 2 + 1))
    table = idx("d")
    assert (table.class_names, table.target.tolist()) == (("1", "3", "5"), LABELS.tolist())


def test_files_that_are_not_of_the_family_or_do_not_fit_each_other_are_refused(digits: Path) -> None:
    images, labels = digits / NAMES[2], digits / NAMES[3]
    good = images.read_bytes()
    wrong: dict[bytes, str] = {
        b"\x89PNG": "is no file of the MNIST family, which begins with 00 00 08, but 89 50 4e 47",
        b"": "is no file of the MNIST family, which begins with 00 00 08, but nothing",
        written(PIXELS.astype(">i4"), 12): "holds integers; must hold unsigned bytes",
        written(LABELS): "holds labels (1 dimension); must hold pictures (3 dimensions)",
        written(PIXELS[None]): "holds 4 dimensions; must hold pictures (3 dimensions)",
        good[:-3]: "says that it has 10 x 4 x 5 bytes, and has 197; fetch it again",
        good + b"\0": "says that it has 10 x 4 x 5 bytes, and has more; fetch it again",
        good[:10]: "ends within its header; fetch it again",
        gzip.compress(good)[:-20]: "ends too early for gzip; it may not have been fetched to its end",
        written(PIXELS[:9]): f"d/{NAMES[3]}: has 10 labels, and d/{NAMES[2]} 9 pictures",
        written(PIXELS[:10, :, :4]): "d: the pictures are of 4 x 5 to train on, of 4 x 4 to test",
        struct.pack(">HBB3I", 0, 8, 3, 2**31, 28, 28): "says that it has 2,147,483,648 x 28 x 28 bytes; must be "
        "pictures of at most 512 x 512, 2,147,483,648 bytes in all",
    }
    for content, message in wrong.items():
        images.write_bytes(content)
        wanted = message if message.startswith(("d/", "d:")) else f"d/{images.name}: {message}"
        assert refusal(lambda: idx("d")) == wanted
    damaged = bytearray(gzip.compress(good))
    damaged[-6] ^= 1
    images.write_bytes(damaged)
    assert refusal(lambda: idx("d")).startswith(f"d/{NAMES[2]}: is damaged (CRC check failed")
    images.unlink()
    assert refusal(lambda: idx("d")).startswith(f"d/{NAMES[2]}: there is no such file, nor {NAMES[2]}.gz; is it ")
    images.mkdir()
    assert refusal(lambda: idx("d")) == f"d/{NAMES[2]}: is not a file; must be one of the MNIST family"
    assert refusal(lambda: idx("dd")) == "dataset.folder=dd: there is no such folder; is it d?"
    assert refusal(lambda: idx("d", test_labels=None)) == (
        "dataset.test_images, dataset.test_labels: one is null; both must be files, or both null"
    )
    assert refusal(lambda: idx("d", test_images=None, test_labels=None, class_names=["a", "b"])) == (
        "dataset.class_names=a,b: are 2 names, and there are 3 classes (0 to 2)"
    )
    assert labels.exists()


def test_a_run_on_such_files_is_evaluated_and_predicts_files_of_both_kinds(
    digits: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    train("dataset=idx", "dataset.folder=d", "model=cnn", "model.depth=1", "epochs=1", "hydra.run.dir=r")
    assert main(["eval", "r", "--format", "json"]) == 0
    shares = predict(Path("r"), (digits / NAMES[2]).read_bytes(), source="test").probabilities
    assert shares is not None
    assert shares.shape == (10, 3)
    for row in (0, 7):
        Image.fromarray(PIXELS[20 + row]).save("one.png")
        one = predict(Path("r"), Path("one.png").read_bytes(), source="one.png").probabilities
        assert one is not None
        assert np.allclose(one[0], shares[row], atol=1e-6)
    smaller = written(PIXELS[:2, :3, :3])
    message = refusal(lambda: predict(Path("r"), gzip.compress(smaller), source="s.gz"))
    assert message == "s.gz: its pictures are of 3 x 3; must be of 4 x 5"
    assert main(["show", "r"]) == 0
    assert "20 features" not in capsys.readouterr().out
