"""Generated data: each shape and curve against its formula."""

import numpy as np
import pytest

from ch12cli.data import toy_regression, two_class
from ch12cli.errors import InputError

BALANCED = ("moons", "circles", "spirals", "blobs")


def test_xor_with_default_arguments_is_the_chapters_data():
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
        two_class("moon", 1, noise=float("nan"), seed=-1)  # type: ignore[arg-type]
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


def test_the_chapters_points_are_its_ten_in_single_precision():
    points = toy_regression()
    assert points.features.dtype == points.target.dtype == np.float32
    assert points.features.shape == (10, 1)
    assert points.features[:, 0].tolist() == list(range(10))
    expected = np.array([1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0], dtype=np.float32)
    assert np.array_equal(points.target, expected)
    assert points.class_names is None


@pytest.mark.parametrize(("kind", "formula"), [("line", lambda x: 2 * x + 1), ("curve", lambda x: np.sin(np.pi * x))])
def test_generated_points_follow_their_formula_up_to_noise(kind, formula):
    clean = toy_regression(kind, 5000)
    x = clean.features[:, 0]
    np.testing.assert_allclose(clean.target, formula(x), rtol=1e-12, atol=1e-12)
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() < 1
    noisy = toy_regression(kind, 5000, noise=0.3)
    assert np.array_equal(noisy.features, clean.features)
    assert abs((noisy.target - clean.target).std() - 0.3) < 0.02


def test_another_seed_generates_other_points():
    assert toy_regression("line", seed=2).digest == toy_regression("line", seed=2).digest
    assert toy_regression("line", seed=2).digest != toy_regression("line", seed=3).digest


def test_the_chapters_points_refuse_another_size_or_noise():
    with pytest.raises(InputError) as caught:
        toy_regression("chapter", 20, noise=0.5)
    assert caught.value.messages == [
        "dataset.size=20: must be 10 with dataset.kind=chapter; line and curve take any size",
        "dataset.noise=0.5: must be 0 with dataset.kind=chapter; line and curve take noise",
    ]


def test_an_unknown_kind_gets_the_nearest_right_one():
    with pytest.raises(InputError, match=r"^dataset\.kind=curves: must be one of .*; did you mean curve\?$"):
        toy_regression("curves")  # type: ignore[arg-type]
