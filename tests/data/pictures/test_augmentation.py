"""Random changes of pictures against torch's grid_sample and by hand; the same whoever loads the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from ch12cli.cli.main import main
from ch12cli.data import image_folder
from ch12cli.data.pictures.augmentation import (
    Augmentation,
    AugmentedRows,
    OwnAugmentation,
    augmented,
    resampled,
    uniforms,
)
from ch12cli.errors import InputError
from tests.conftest import Train

PICTURES = np.random.default_rng(1).random((40, 3, 9, 12), dtype=np.float32)
ROWS = np.arange(100, 140)


def test_geometry_is_that_of_torchs_grid_sample() -> None:
    random = np.random.default_rng(2)
    angle, share = random.uniform(-1, 1, 40), random.uniform(0.5, 1, 40)
    across, down = random.choice([-1.0, 1.0], (2, 40))
    moved = random.uniform(-3, 3, (40, 2))
    found = resampled(PICTURES, across, down, moved, angle, share)
    height, width = PICTURES.shape[2:]
    theta = np.empty((40, 2, 3))  # in units of half a side, as affine_grid has them
    ratio = (height - 1) / (width - 1)
    theta[:, 0, 0], theta[:, 0, 1] = np.cos(angle) * across * share, -np.sin(angle) * down * share * ratio
    theta[:, 1, 0], theta[:, 1, 1] = np.sin(angle) * across * share / ratio, np.cos(angle) * down * share
    theta[:, :, 2] = moved * 2 / [width - 1, height - 1]
    grid = affine_grid(torch.from_numpy(theta), list(PICTURES.shape), align_corners=True)
    wanted = grid_sample(torch.from_numpy(PICTURES).double(), grid, padding_mode="zeros", align_corners=True)
    assert np.abs(found - wanted.numpy()).max() < 1e-5


def test_flip_and_shift_are_plain_indexing_and_each_choice_occurs() -> None:
    found = Augmentation(flip=True, shift=1)(PICTURES, ROWS, 3)
    framed = np.pad(PICTURES, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = set()
    for one, frame in zip(found, framed, strict=True):
        for mirror in (1, -1):
            for y in range(3):
                for x in range(3):
                    if np.array_equal(one, frame[:, y : y + 9, x : x + 12][:, :, ::mirror]):
                        seen.add((mirror, y, x))
    assert 14 <= len(seen) <= 18
    upside_down = Augmentation(vertical_flip=True)(PICTURES, ROWS, 3)
    flipped = [np.array_equal(one, was[:, ::-1]) for one, was in zip(upside_down, PICTURES, strict=True)]
    same = [np.array_equal(one, was) for one, was in zip(upside_down, PICTURES, strict=True)]
    assert [a or b for a, b in zip(flipped, same, strict=True)] == [True] * 40
    assert 10 <= sum(flipped) <= 30


def test_brightness_is_a_factor_for_each_picture_within_its_bounds() -> None:
    found = Augmentation(brightness=0.25)(PICTURES * np.float32(0.5), ROWS, 0)
    factors = (found / (PICTURES * np.float32(0.5))).reshape(40, -1)
    assert np.ptp(factors, axis=1).max() < 1e-5
    assert 0.75 <= factors.min() < 0.8 < 1.2 < factors.max() <= 1.25
    assert Augmentation(brightness=1.0)(PICTURES, ROWS, 0).max() <= 1


def test_rotation_and_crop_stay_within_their_bounds() -> None:
    ramp = np.tile(np.linspace(0, 1, 31, dtype=np.float32), (500, 1, 31, 1))  # (rows, 1, 31, 31), brighter to the right
    cropped = Augmentation(crop=0.6)(ramp, np.arange(500), 0)
    slopes = (cropped[:, 0, 15, -1] - cropped[:, 0, 15, 0]).astype(float)
    assert 0.6 - 1e-5 < slopes.min() < 0.65 < 0.95 < slopes.max() < 1 + 1e-5
    assert cropped[:, 0, 15, 0].min() < 0.02  # a part may begin at the left edge, and end at the right one
    assert cropped[:, 0, 15, -1].max() > 0.98
    turned = Augmentation(rotation=20)(ramp, np.arange(500), 0)[:, 0]
    angles = np.rad2deg(np.arctan2(turned[:, 17, 15] - turned[:, 13, 15], turned[:, 15, 17] - turned[:, 15, 13]))
    assert -20.01 < angles.min() < -19
    assert 19 < angles.max() < 20.01


def test_numbers_depend_on_seed_epoch_and_row_alone_and_are_uniform() -> None:
    rows = np.arange(20_000)
    drawn = uniforms(1, 0, rows, 4)
    assert np.array_equal(uniforms(1, 0, rows[[7, 3]], 4), drawn[[7, 3]])
    counts = np.histogram(drawn, bins=16, range=(0, 1))[0]
    assert np.abs(counts - 5000).max() < 350  # five deviations
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.04
    for other in (uniforms(1, 1, rows, 4), uniforms(2, 0, rows, 4), uniforms(1, 0, rows + 1, 4)):
        assert np.abs([np.corrcoef(a, b)[0, 1] for a, b in zip(drawn.T, other.T, strict=True)]).max() < 0.04


def test_rows_are_the_same_in_any_company_and_unchanged_in_evaluation() -> None:
    flat = PICTURES.reshape(40, -1)
    lazy = augmented(flat, (3, 9, 12), {"flip": True, "rotation": 15, "crop": 0.8, "brightness": 0.2})
    assert isinstance(lazy, AugmentedRows)
    rows = np.array([5, 1, 30])
    assert np.array_equal(lazy.take(rows), flat[rows])
    whole = lazy.take(np.arange(40), 2)
    assert np.array_equal(lazy.take(rows, 2), whole[rows])
    assert not np.array_equal(lazy.take(rows, 3), whole[rows])
    assert whole.dtype == np.float32


def test_a_callable_of_ones_own_is_seeded_for_each_row_and_must_keep_the_shape() -> None:
    by_numpy = OwnAugmentation(lambda picture, random: picture * np.float32(random.random()))
    by_torch = OwnAugmentation(lambda picture: picture * torch.rand(()))
    before = torch.get_rng_state()
    for own in (by_numpy, by_torch):
        whole = own(PICTURES, ROWS, 1)
        assert np.array_equal(own(PICTURES[[4]], ROWS[[4]], 1)[0], whole[4])
        factors = whole[:, 0, 0, 0] / PICTURES[:, 0, 0, 0]
        assert len(np.unique(factors.round(6))) == 40
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(InputError, match=r"gives a picture of shape \(3, 9, 6\); must be \(3, 9, 12\)"):
        OwnAugmentation(lambda picture: picture[:, :, ::2])(PICTURES, ROWS, 0)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"flip": 1}, "dataset.augment.flip=1: must be true or false"),
        ({"shift": 0.5}, "dataset.augment.shift=0.5: must be a whole number from 0 to 512"),
        ({"rotation": -3}, "dataset.augment.rotation=-3: must be a number from 0 to 180"),
        ({"crop": 0}, "dataset.augment.crop=0: must be a number from 0.01 to 1"),
        ({"brightness": 2}, "dataset.augment.brightness=2: must be a number from 0 to 1"),
        ({"seed": -1}, "dataset.augment.seed=-1: must be a whole number from 0 to 4294967295"),
    ],
)
def test_wrong_values_are_named(augment: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        image_folder(augment=augment)
    assert str(refused.value) == message


def test_unknown_changes_and_other_data_sets_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "dataset=image_folder", "dataset.augment={mirror:true}"]) == 2
    assert "of flip, vertical_flip, shift, rotation, crop, brightness, seed" in capsys.readouterr().err
    assert main(["train", "+dataset.augment={flip:true}"]) == 2
    assert "dataset=image_folder" in capsys.readouterr().err


RUN = (
    "dataset=image_folder",
    "dataset.augment={flip:true,shift:2,rotation:10}",
    "model=cnn",
    "batch_size=32",
    "threads=1",
)


@pytest.mark.slow
def test_workers_and_resuming_change_nothing_of_an_augmented_run(train: Train, folder: Path) -> None:
    def weights(name: str) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = torch.load(folder / name / "model.pt")
        return found

    train(*RUN, "epochs=3", "hydra.run.dir=plain")
    train(*RUN, "epochs=3", "workers=2", "hydra.run.dir=workers")
    train(*RUN, "epochs=1", "hydra.run.dir=resumed")
    assert main(["resume", "-q", "resumed", "epochs=3"]) == 0
    train(*RUN[:1], *RUN[2:], "epochs=3", "hydra.run.dir=unchanged")
    for name, value in weights("plain").items():
        assert torch.equal(value, weights("workers")[name])
        assert torch.equal(value, weights("resumed")[name])
        assert not torch.equal(value, weights("unchanged")[name])
    assert main(["eval", "plain", "--split", "all"]) == 0
    assert main(["export", "plain", "--format", "script"]) == 2
