"""Pictures that are decoded when they are needed against those decoded before; caches; what is wrong with one."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ch12cli.cli.main import main
from ch12cli.data import image_folder
from ch12cli.data.pictures import image_folder as module
from ch12cli.data.pictures.picture_rows import PictureRows
from ch12cli.data.pictures.pixel_cache import PixelCache
from ch12cli.data.synthetic import write_images
from ch12cli.errors import InputError
from ch12cli.files.result_json import read_result
from tests.conftest import Train


@pytest.fixture
def drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The drawn images in the folder `p`, one of them of 16 bits, which are many already."""
    (folder / "p").mkdir()
    write_images(folder / "p")
    deep = np.random.default_rng(1).integers(0, 2**16, (24, 24), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "p" / "disc-000.png")
    monkeypatch.setattr(module, "FEW", 100)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder / "p"


def lazy(**arguments: Any) -> PictureRows:
    rows = image_folder("p", **arguments).features
    assert isinstance(rows, PictureRows)
    return rows


def reference(drawn: Path) -> np.ndarray[Any, Any]:
    names = sorted(path.name for path in drawn.iterdir())
    pixels = [np.asarray(Image.open(drawn / name)) for name in names]
    grey = [np.asarray(Image.open(drawn / name).convert("L")) / np.float32(255) for name in names[1:]]
    return np.stack([pixels[0] / np.float32(2**16 - 1), *grey]).reshape(200, -1)


@pytest.mark.parametrize("cache", ["auto", "none", "memory", "disk"])
def test_rows_are_those_decoded_by_hand_however_often_they_are_taken(drawn: Path, cache: str) -> None:
    wanted = reference(drawn)
    rows = lazy(cache=cache)
    some = np.array([7, 0, 199, 7])
    for _ in range(2):
        assert np.array_equal(rows.take(some), wanted[some])
    for path in drawn.iterdir():
        path.write_bytes(b"")
    kept = rows.cache is not None
    assert kept == (cache != "none")
    if kept:
        assert np.array_equal(rows.take(some[[0, 2]]), wanted[some[[0, 2]]])
    with pytest.raises(InputError, match=r"p/disc-000\.png: is not a readable image"):
        rows.take(np.array([0]))  # bytes do not hold 16 bits, so that they are not kept


def test_a_cache_on_disk_is_used_again_unless_a_file_has_changed_and_damage_is_not_believed(drawn: Path) -> None:
    lazy(cache="disk").take(np.arange(1, 200))
    (stored,) = (drawn.parent / "cache" / "ch12" / "pictures").iterdir()
    content = bytearray(stored.read_bytes())
    row_bytes = 24 * 24 + 4
    content[5 * row_bytes + 3] ^= 1
    stored.write_bytes(content)
    wanted = reference(drawn)
    assert np.array_equal(lazy(cache="disk")[:], wanted)
    os.utime(drawn / "disc-002.png")
    lazy(cache="disk").take(np.array([1]))
    assert len(list(stored.parent.iterdir())) == 2


def test_a_cache_in_memory_is_shared_with_a_forked_process() -> None:
    cache = PixelCache(3, 4)
    if (child := os.fork()) == 0:
        cache.put(1, np.array([0, 1, 1, 0], np.float32))
        os._exit(0)
    os.waitpid(child, 0)
    assert cache.get(0) is None
    found = cache.get(1)
    assert found is not None
    assert found.tolist() == [0, 1, 1, 0]


def test_what_does_not_fit_is_decoded_in_each_epoch_or_refused(drawn: Path) -> None:
    assert lazy(memory="100kB").cache is None
    assert lazy(memory="200kB").cache is not None
    assert not lazy(memory="200kB").fits
    assert lazy(memory="1MB").fits
    with pytest.raises(InputError) as refused:
        lazy(cache="memory", memory="100kB")
    assert str(refused.value) == (
        "dataset.cache=memory: 200 images take 115 kB, and 100 kB are allowed; use dataset.cache=disk or none, or set "
        "dataset.memory"
    )


def test_the_digest_of_many_is_that_of_names_and_sizes_and_of_few_that_of_pixels(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = image_folder("p")
    assert many.digest == image_folder("p", cache="none").digest != image_folder("p", height=12).digest
    path = drawn / "disc-002.png"
    path.write_bytes(path.read_bytes() + b"\0")
    assert image_folder("p").digest != many.digest
    monkeypatch.setattr(module, "FEW", 300)
    eager = image_folder("p")
    assert isinstance(eager.features, np.ndarray)
    assert image_folder("p", cache="none").digest == eager.digest


RUN = ("dataset=image_folder", "dataset.folder=p", "model=cnn", "batch_size=16", "threads=1", "epochs=2")


def weights(directory: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(Path(directory) / "model.pt")
    return found


@pytest.mark.slow
def test_runs_have_the_same_bits_however_pictures_are_decoded_and_by_whom(drawn: Path, train: Train) -> None:
    train(*RUN, "hydra.run.dir=plain")
    train(*RUN, "dataset.cache=none", "workers=2", "hydra.run.dir=workers")
    assert main(["train", "-q", "-m", *RUN, "seed=1,2", "device=cpu", "hydra.sweep.dir=s"]) == 0
    plain = weights("plain")
    for name, value in plain.items():
        assert torch.equal(value, weights("workers")[name])
        assert torch.allclose(value, weights("s/0")[name], atol=1e-4)
    stacked = read_result(Path("s/0/result.json"))
    assert stacked is not None
    assert stacked.stacked == 2
    assert main(["eval", "plain"]) == 0
    assert main(["eval", "s/1"]) == 0
    assert main(["predict", "plain", "p"]) == 0


def test_a_damaged_picture_is_named_where_it_is_met(
    drawn: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = drawn / "square-101.png"
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    message = f"p/{bad.name}: is damaged"
    with pytest.raises(InputError, match=message):
        train(*RUN, "dataset.scaling=none", "hydra.run.dir=r")
    result = read_result(Path("r/result.json"))
    assert result is not None
    assert result.status == "failed"
    assert str(result.error).startswith(message)


@pytest.mark.slow
def test_a_damaged_picture_is_named_by_a_worker_in_training_and_in_validation(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("disc-100.png", "square-101.png", "square-103.png", "square-105.png"):
        content = (drawn / name).read_bytes()
        (drawn / name).write_bytes(content[: len(content) // 2])
        words = [*RUN, "dataset.scaling=none", "workers=2", "dataset.test_size=0", "device=cpu"]
        assert main(["train", "-q", *words]) == 2
        assert capsys.readouterr().err.startswith(f"ch12: p/{name}: is damaged")
        (drawn / name).write_bytes(content)
