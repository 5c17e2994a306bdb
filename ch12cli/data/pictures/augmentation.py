"""Random changes of the training pictures, drawn anew for each row in each epoch, whoever loads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import Parameter, signature
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import integer_problems, number_problems, seed_problems
from ch12cli.data.pictures.image_file import ImageShape
from ch12cli.data.streaming.lazy_rows import Features, LazyRows, Rows, Values
from ch12cli.errors import InputError, Problem
from ch12cli.rules import LARGEST_SIDE

Pictures = npt.NDArray[np.float32]  # (rows, channels, height, width), from 0 to 1
Numbers = npt.NDArray[np.uint64]

DRAWN = 9  # numbers for each row: two flips, two shifts, rotation, brightness, crop and its two places
KEY = "dataset.augment"


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random, each row by itself. What moves in from outside a picture is black.

    flip, vertical_flip: mirrored with probability one half. shift: up to so many pixels, each way. rotation: up to so
    many degrees, each way. crop: a part of the picture that keeps at least this share of height and width, enlarged.
    brightness: times 1 - brightness to 1 + brightness. seed: of the changes.
    """

    flip: bool = False
    vertical_flip: bool = False
    shift: int = 0
    rotation: float = 0.0
    crop: float = 1.0
    brightness: float = 0.0
    seed: int = 1

    def __call__(self, pictures: Pictures, rows: Rows, epoch: int) -> Pictures:
        """The pictures changed, a new array. rows: their indices in the data set; epoch: counted from 0."""
        drawn = uniforms(self.seed, epoch, rows, DRAWN)
        across, down = np.where((drawn[:, :2] < 0.5) & [self.flip, self.vertical_flip], -1.0, 1.0).T
        moved = np.floor(drawn[:, 2:4] * (2 * self.shift + 1)) - self.shift  # (rows, 2), whole pixels
        found = pictures
        if self.rotation or self.crop < 1:
            angle = np.deg2rad((drawn[:, 4] * 2 - 1) * self.rotation)
            share = 1 - drawn[:, 6] * (1 - self.crop)
            room = (1 - share)[:, None] * (np.array(pictures.shape[:1:-1]) - 1) / 2  # (rows, 2), for the part to move
            found = resampled(found, across, down, moved + (drawn[:, 7:9] * 2 - 1) * room, angle, share)
        elif self.flip or self.vertical_flip or self.shift:
            found = rearranged(found, across, down, moved)
        if self.brightness:
            factor = 1 + (drawn[:, 5] * 2 - 1) * self.brightness
            found = np.clip(found * factor.astype(np.float32)[:, None, None, None], 0, 1)
        return found


def uniforms(seed: int, epoch: int, rows: Rows, count: int) -> npt.NDArray[np.float64]:
    """Numbers from 0 to below 1 that depend on seed, epoch and row alone, (rows, count)."""
    of_epoch = mixed(mixed(np.array([seed], np.uint64)) + np.array([epoch], np.uint64))
    of_rows = mixed(np.add(of_epoch, rows.astype(np.uint64), dtype=np.uint64))
    numbers = mixed(np.add(of_rows[:, None], np.arange(count, dtype=np.uint64), dtype=np.uint64))
    return cast(npt.NDArray[np.float64], (numbers >> np.uint64(11)) * 2.0**-53)


def mixed(numbers: Numbers) -> Numbers:
    """The numbers well mixed: the output function of SplitMix64, which is one to one."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)  # overflow is meant, and silent in arrays
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def resampled(
    pictures: Pictures,
    across: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    moved: npt.NDArray[np.float64],
    angle: npt.NDArray[np.float64],
    share: npt.NDArray[np.float64],
) -> Pictures:
    """Each picture mirrored, enlarged, rotated about its centre and moved, by linear interpolation.

    across, down: -1 to mirror, else 1; moved: (rows, 2), pixels; angle: radians; share: of the sides; (rows,) each.
    """
    height, width = pictures.shape[2:]
    x = (np.arange(width) - (width - 1) / 2) * (across * share)[:, None]  # (rows, width), from the centre
    y = (np.arange(height) - (height - 1) / 2) * (down * share)[:, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    from_x = cosine * x[:, None, :] - sine * y[:, :, None] + (moved[:, 0, None, None] + (width - 1) / 2)
    from_y = sine * x[:, None, :] + cosine * y[:, :, None] + (moved[:, 1, None, None] + (height - 1) / 2)
    left, top = np.floor(from_x), np.floor(from_y)  # (rows, height, width)
    right_share, lower_share = (from_x - left).astype(np.float32), (from_y - top).astype(np.float32)
    found = np.zeros_like(pictures)
    for below in (0, 1):
        for beside in (0, 1):
            weight = (lower_share if below else 1 - lower_share) * (right_share if beside else 1 - right_share)
            found += picked(pictures, left + beside, top + below) * weight[:, None]
    return found


def rearranged(
    pictures: Pictures,
    across: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    moved: npt.NDArray[np.float64],
) -> Pictures:
    """Each picture mirrored and moved by whole pixels; the arguments are those of resampled."""
    height, width = pictures.shape[2:]
    x = np.where(across[:, None] < 0, np.arange(width)[::-1], np.arange(width)) + moved[:, :1]  # (rows, width)
    y = np.where(down[:, None] < 0, np.arange(height)[::-1], np.arange(height)) + moved[:, 1:]
    return picked(pictures, *np.broadcast_arrays(x[:, None, :], y[:, :, None]))


def picked(pictures: Pictures, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Pictures:
    """The pixels at whole coordinates, (rows, height, width) each; 0 outside."""
    height, width = pictures.shape[2:]
    framed = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1)))
    column = np.clip(x + 1, 0, width + 1).astype(np.intp)
    row = np.clip(y + 1, 0, height + 1).astype(np.intp)
    place = (row * (width + 2) + column).reshape(len(pictures), 1, -1)
    flat = framed.reshape(*pictures.shape[:2], -1)
    return np.take_along_axis(flat, place, axis=2).reshape(pictures.shape)


@dataclass(frozen=True)
class OwnAugmentation:
    """A callable of the user's own that changes a picture: (picture, generator) or (picture).

    With a generator of numpy's, the picture is an array, (channels, height, width). Alone it is a tensor, which
    torchvision's transforms take, and torch's random stream is seeded for each row.
    """

    change: Callable[..., Any]
    seed: int = 1

    def __call__(self, pictures: Pictures, rows: Rows, epoch: int) -> Pictures:
        found = [self._changed(one, [self.seed, epoch, row]) for one, row in zip(pictures, rows.tolist(), strict=True)]
        for one in found:
            if one.shape != pictures.shape[1:]:
                rule = f"gives a picture of shape {one.shape}; must be {pictures.shape[1:]}, as it was"
                raise InputError(Problem(KEY, None, rule))
        return np.stack(found)

    def _changed(self, picture: Pictures, seed: list[int]) -> Pictures:
        if _takes_two(self.change):
            return np.asarray(self.change(picture, np.random.default_rng(seed)), np.float32)
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
            return np.asarray(self.change(torch.from_numpy(picture.copy())), np.float32)


def _takes_two(change: Callable[..., Any]) -> bool:
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    try:
        found = [one for one in signature(change).parameters.values() if one.kind in kinds]
    except (TypeError, ValueError):
        return False
    return len([one for one in found if one.default is Parameter.empty]) >= 2


class AugmentedRows(LazyRows):
    """Pictures that are changed at random in training, and as they are in evaluation. shape: of one."""

    alone = "its pictures are augmented"

    def __init__(
        self, source: Features, picture: ImageShape, change: Callable[[Pictures, Rows, int], Pictures]
    ) -> None:
        self.source, self.picture, self.change = source, picture, change
        self.shape, self.dtype = source.shape, source.dtype

    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        source = self.source
        found: Values = source.take(rows, epoch) if isinstance(source, LazyRows) else source[rows]
        if epoch is None:
            return found
        return self.change(found.reshape(len(rows), *self.picture), rows, epoch).reshape(len(rows), -1)


def augmented(features: Features, picture: ImageShape, augment: object) -> Features:
    """The features, changed as `dataset.augment` says; as they are for None. InputError for wrong values."""
    if augment is None:
        return features
    if callable(augment):
        return AugmentedRows(features, picture, OwnAugmentation(augment))
    problems = augmentation_problems(augment)
    if problems:
        raise InputError(problems)
    return AugmentedRows(features, picture, Augmentation(**cast(Mapping[str, Any], augment)))


def augmentation_problems(augment: object) -> list[Problem]:
    """The problems of a value of `dataset.augment` that is neither None nor a callable."""
    known = [field.name for field in fields(Augmentation)]
    if not isinstance(augment, Mapping) or not set(augment) <= set(known):
        rule = f"must be changes such as {{flip: true, shift: 2}}, of {', '.join(known)}, or the _target_ of a callable"
        return [Problem(KEY, str(augment), rule)]
    ranges = {"rotation": (0, 180), "crop": (0.01, 1), "brightness": (0, 1)}
    problems = [
        Problem(f"{KEY}.{name}", str(augment[name]), "must be true or false")
        for name in ("flip", "vertical_flip")
        if not isinstance(augment.get(name, False), bool)
    ]
    problems += integer_problems(f"{KEY}.shift", augment.get("shift", 0), low=0, high=LARGEST_SIDE)
    for name, (low, high) in ranges.items():
        problems += number_problems(f"{KEY}.{name}", augment.get(name, low), low=low, high=high)
    return problems + seed_problems(f"{KEY}.seed", augment.get("seed", 1))
