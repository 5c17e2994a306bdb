"""Scaling held against numpy's formulas and figures worked out by hand."""

import json
from typing import Any

import numpy as np
import pytest

from ch12cli.data import iris, toy_regression
from ch12cli.data import scaling as module
from ch12cli.data.scaling import fit_scaling, scaling_from_plain
from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.errors import InputError

HAND = np.array([[1.0, 10.0], [3.0, 30.0]])  # means 2 and 20, deviations 1 and 10; in all 11 and the root of 131.5


def test_standard_scales_each_feature_separately():
    scaling = fit_scaling(HAND, "standard")
    assert (scaling.mean, scaling.deviation) == ((2.0, 20.0), (1.0, 10.0))
    assert scaling.apply(HAND).tolist() == [[-1.0, -1.0], [1.0, 1.0]]
    assert scaling.apply(np.array([[2.5, 0.0]])).tolist() == [[0.5, -2.0]]


def test_global_scales_all_features_alike():
    scaling = fit_scaling(HAND, "global")
    assert scaling.mean == (11.0, 11.0)
    np.testing.assert_allclose(scaling.deviation, 131.5**0.5, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_global_is_the_chapters_formula_bit_for_bit(dtype):
    x = iris().features[np.random.RandomState(1).permutation(150)[50:]].astype(dtype)
    scaled = fit_scaling(x, "global").apply(x)
    assert scaled.dtype == dtype
    assert np.array_equal(scaled, (x - np.mean(x)) / np.std(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standard_is_numpys_formula_bit_for_bit(dtype):
    x = iris().features.astype(dtype)
    scaled = fit_scaling(x, "standard").apply(x)
    assert scaled.dtype == dtype
    assert np.array_equal(scaled, (x - x.mean(axis=0)) / x.std(axis=0))


@pytest.mark.parametrize("method", ["standard", "global"])
def test_the_chapters_ten_points_are_scaled_as_in_the_chapter(method):
    x = toy_regression().features
    expected = (np.arange(10, dtype=np.float32) - np.float32(4.5)) / np.sqrt(np.float32(8.25))
    assert np.array_equal(fit_scaling(x, method).apply(x)[:, 0], expected)


def test_none_leaves_the_values_and_copies_them():
    same = fit_scaling(HAND, "none").apply(HAND)
    assert same.tolist() == HAND.tolist()
    assert not np.shares_memory(same, HAND)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300, -7.3e8])
@pytest.mark.parametrize("method", ["standard", "global"])
def test_a_constant_feature_is_not_divided_by_its_deviation(method, value):
    x = np.full((9, 2), value)
    scaling = fit_scaling(x, method)
    assert scaling.deviation == (1.0, 1.0)
    np.testing.assert_allclose(scaling.apply(x), 0, atol=1e-6)


def test_values_so_close_that_their_deviation_rounds_to_zero_stay_finite():
    x = np.array([[0.0], [1e-200]])
    assert np.isfinite(fit_scaling(x, "standard").apply(x)).all()


@pytest.mark.parametrize("method", ["standard", "global"])
def test_values_too_large_for_their_type_are_refused(method):
    x = np.array([[1e30], [-1e30]], dtype=np.float32)
    with pytest.raises(InputError, match=rf"^dataset\.scaling={method}: values up to 1e\+30 are too large .*float32"):
        fit_scaling(x, method)


@pytest.mark.parametrize("method", ["standard", "global", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scaling_comes_back_from_json_to_the_last_bit(method, dtype):
    x = iris().features.astype(dtype)
    scaling = fit_scaling(x, method)
    back = scaling_from_plain(json.loads(json.dumps(scaling.as_plain())), "file")
    assert back == scaling
    assert np.array_equal(back.apply(x), scaling.apply(x))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "other"},
        {"mean": None},
        {"mean": [0.0]},
        {"mean": [0.0, "a"]},
        {"deviation": [1.0, 0.0]},
        {"deviation": [1.0, float("nan")]},
        {"mean": [], "deviation": []},
    ],
)
def test_a_damaged_scaling_names_its_file(changed):
    plain = fit_scaling(HAND, "standard").as_plain() | changed
    with pytest.raises(InputError, match=r"^run/model\.pt: its scaling is damaged"):
        scaling_from_plain(plain, "run/model.pt")


def test_features_of_another_width_are_refused_where_one_column_would_broadcast():
    with pytest.raises(InputError, match=r"shape \(3, 1\); must be \(rows, 2\)"):
        fit_scaling(HAND, "standard").apply(np.zeros((3, 1)))


def test_an_unknown_method_gets_the_nearest_right_one():
    with pytest.raises(InputError, match=r"^dataset\.scaling=standart: .*did you mean standard\?$"):
        fit_scaling(HAND, "standart")  # type: ignore[arg-type]


class Held(LazyRows):
    """Rows of an array, as if they were read from a file."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def take(self, rows: np.ndarray, epoch: int | None = None) -> np.ndarray:
        return self.values[rows]


@pytest.mark.parametrize("method", ["standard", "global", "none"])
@pytest.mark.parametrize("missing", [None, "mean", "median"])
def test_lazy_rows_are_scaled_by_the_bits_of_an_array_in_chunks_of_any_size(
    method: Any, missing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(3).normal(3, 2, (101, 4))
    if missing:
        values[::7, 2] = np.nan
    whole = fit_scaling(values, method, missing)
    monkeypatch.setattr(module, "CHUNK", 40)  # 10 rows
    fitted = fit_scaling(Held(values), method, missing)
    assert fitted == fit_scaling(values, method, missing)
    for name in ("mean", "deviation", *(["fill"] if missing else [])):
        assert getattr(fitted, name) == pytest.approx(getattr(whole, name), rel=1e-13)
