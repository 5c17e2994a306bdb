"""The two-class shapes, each held against the formula of its curve."""

import numpy as np
import pytest

from ch12cli.data import two_class
from ch12cli.errors import InputError

BALANCED = ("moons", "circles", "spirals", "blobs")


def test_xor_by_default_is_the_chapters_data():
    drawn = two_class()
    points = np.random.RandomState(1).uniform(-1, 1, (200, 2))
    assert np.array_equal(drawn.features, points)
    assert drawn.features.dtype == np.float64
    assert drawn.target.tolist() == [0 if x * y < 0 else 1 for x, y in points]


def test_moons_lie_on_two_half_circles():
    moons = two_class("moons", 100)
    x, y = moons.features.T
    upper = moons.target == 0
    np.testing.assert_allclose(np.hypot(x, y)[upper], 1)
    np.testing.assert_allclose(np.hypot(x - 1, y - 0.5)[~upper], 1)
    assert y[upper].min() >= 0
    assert y[~upper].max() <= 0.5


def test_circles_have_radius_one_and_a_half_and_go_all_the_way_round():
    circles = two_class("circles", 100)
    radius = np.hypot(*circles.features.T)
    np.testing.assert_allclose(radius, np.where(circles.target == 0, 1, 0.5))
    for number in (0, 1):
        signs = np.sign(circles.features[circles.target == number])
        assert len(np.unique(signs, axis=0)) == 4  # every quadrant


def test_spirals_turn_one_and_a_half_times_with_their_arms_opposite():
    spirals = two_class("spirals", 100)
    x, y = spirals.features.T
    radius = np.hypot(x, y)
    off = np.exp(1j * (np.arctan2(y, x) - 3 * np.pi * radius))  # 1 on the first arm, -1 on the second
    np.testing.assert_allclose(off, np.where(spirals.target == 0, 1, -1), atol=1e-9)
    assert radius.min() >= 0.1
    assert radius.max() <= 1


def test_blobs_are_normal_clouds_round_their_centres():
    blobs = two_class("blobs", 20_000)
    for number, centre in ((0, -0.5), (1, 0.5)):
        cloud = blobs.features[blobs.target == number]
        np.testing.assert_allclose(cloud.mean(axis=0), centre, atol=0.01)
        np.testing.assert_allclose(cloud.std(axis=0), 0.2, atol=0.01)
        np.testing.assert_allclose(np.corrcoef(cloud.T)[0, 1], 0, atol=0.05)


@pytest.mark.parametrize("shape", BALANCED)
@pytest.mark.parametrize(("size", "first"), [(50, 25), (51, 26)])
def test_classes_are_balanced_as_a_whole_and_in_each_half(shape, size, first):
    target = two_class(shape, size).target
    assert np.bincount(target).tolist() == [first, size - first]
    assert abs(np.diff(np.bincount(target[: size // 2]))) <= 1


@pytest.mark.parametrize("shape", ["xor", *BALANCED])
def test_noise_moves_points_by_its_deviation_and_leaves_the_classes(shape):
    clean, noisy = two_class(shape, 10_000), two_class(shape, 10_000, noise=0.3)
    assert np.array_equal(clean.target, noisy.target)
    moved = noisy.features - clean.features
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(moved.std(axis=0), 0.3, atol=0.02)


@pytest.mark.parametrize("shape", ["xor", *BALANCED])
def test_a_seed_gives_the_same_points_again_and_another_seed_other_points(shape):
    assert two_class(shape, noise=0.1, seed=3).digest == two_class(shape, noise=0.1, seed=3).digest
    assert not np.isclose(two_class(shape, seed=3).features, two_class(shape, seed=4).features).all(axis=1).any()


def test_wrong_arguments_are_reported_all_at_once_with_their_keys():
    with pytest.raises(InputError) as caught:
        two_class("moon", 1, noise=float("nan"), seed=-1)
    assert caught.value.messages == [
        "dataset.shape=moon: must be one of xor, moons, circles, spirals, blobs; did you mean moons?",
        "dataset.size=1: must be a whole number from 2 to 10000000",
        "dataset.noise=nan: must be a number from 0 to 1e+06",
        "dataset.seed=-1: must be a whole number from 0 to 4294967295",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 2.5},
        {"size": True},
        {"size": 10**9},
        {"noise": -0.1},
        {"noise": "a"},
        {"noise": True},
        {"noise": 10**400},
        {"seed": 2**32},
    ],
)
def test_a_value_out_of_range_or_of_another_type_is_refused(wrong):
    (key,) = wrong
    with pytest.raises(InputError, match=rf"^dataset\.{key}="):
        two_class(**wrong)
