"""The chapter's ten points, and lines and curves held against their formulas."""

import numpy as np
import pytest

from ch12cli.data import toy_regression
from ch12cli.errors import InputError


def test_the_chapters_points_are_its_ten_in_single_precision():
    points = toy_regression()
    assert points.features.dtype == points.target.dtype == np.float32
    assert points.features.shape == (10, 1)
    assert points.features[:, 0].tolist() == list(range(10))
    expected = np.array([1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0], dtype=np.float32)
    assert np.array_equal(points.target, expected)
    assert points.class_names is None


@pytest.mark.parametrize(("kind", "formula"), [("line", lambda x: 2 * x + 1), ("curve", lambda x: np.sin(np.pi * x))])
def test_drawn_points_follow_their_formula_up_to_the_noise(kind, formula):
    clean = toy_regression(kind, 5000)
    x = clean.features[:, 0]
    np.testing.assert_allclose(clean.target, formula(x), rtol=1e-12, atol=1e-12)
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() < 1
    noisy = toy_regression(kind, 5000, noise=0.3)
    assert np.array_equal(noisy.features, clean.features)
    assert abs((noisy.target - clean.target).std() - 0.3) < 0.02


def test_another_seed_draws_other_points():
    assert toy_regression("line", seed=2).digest == toy_regression("line", seed=2).digest
    assert toy_regression("line", seed=2).digest != toy_regression("line", seed=3).digest


def test_another_size_or_noise_for_the_chapters_points_is_refused_not_ignored():
    with pytest.raises(InputError) as caught:
        toy_regression("chapter", 20, noise=0.5)
    assert caught.value.messages == [
        "dataset.size=20: must be 10 with dataset.kind=chapter; line and curve take any size",
        "dataset.noise=0.5: must be 0 with dataset.kind=chapter; line and curve take noise",
    ]


def test_an_unknown_kind_gets_the_nearest_right_one():
    with pytest.raises(InputError, match=r"^dataset\.kind=curves: must be one of .*; did you mean curve\?$"):
        toy_regression("curves")
