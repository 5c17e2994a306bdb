"""Tables refuse data that cannot be learned from, and take what a user's own function gives."""

import hashlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from ch12cli.data import Table, as_table
from ch12cli.errors import InputError

FEATURES = [[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]]


def table(features=FEATURES, target=(0, 1, 1), **other):
    names = {"feature_names": ("a", "b"), "target_name": "kind", "class_names": ("no", "yes"), "source": "here"}
    return Table(np.array(features), np.array(target), **(names | other))


def problems_of(make):
    with pytest.raises(InputError) as caught:
        make()
    return caught.value.messages


def test_a_table_keeps_values_and_dtypes():
    small = table(np.array(FEATURES, dtype=np.float32), np.array([0, 1, 1], dtype=np.uint8))
    assert small.features.dtype == np.float32
    assert small.target.dtype == np.int64
    assert small.features.tolist() == FEATURES
    assert small.target.tolist() == [0, 1, 1]
    assert (small.rows, small.classes) == (3, 2)


def test_a_table_cannot_be_changed_through_its_arrays():
    features = np.array(FEATURES)
    made = table(features)
    features[0, 0] = 99
    assert made.features[0, 0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        made.features[0, 0] = 99
    with pytest.raises(ValueError, match="read-only"):
        made.target[0] = 1


def test_the_digest_is_sha256_of_both_arrays_with_type_and_shape():
    content = b"<f8(3, 2)" + struct.pack("<6d", 0.5, 1.0, 1.5, 2.0, 2.5, 3.0) + b"<i8(3,)" + struct.pack("<3q", 0, 1, 1)
    assert table().digest == hashlib.sha256(content).hexdigest()


def test_the_digest_depends_on_values_and_types_not_on_names_or_byte_order():
    digest = table().digest
    assert table(feature_names=("c", "d"), source="there").digest == digest
    assert table(np.array(FEATURES, dtype=">f8")).digest == digest
    assert table(np.asfortranarray(FEATURES)).digest == digest
    assert table(target=(0, 1, 0)).digest != digest
    assert table([*FEATURES[:2], [2.5, 3.0000000000000004]]).digest != digest
    assert table(np.array(FEATURES, dtype=np.float32)).digest != digest


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"features": [0.5, 1.5, 2.5]}, "shape (3,); must be (rows, features); for a single feature use"),
        ({"features": np.zeros((0, 2))}, "shape (0, 2); there must be at least a row"),
        (
            {"target": [[0], [1], [1]]},
            "target has shape (3, 1); must be (rows,), one for each row; use target.reshape(-1)",
        ),
        ({"target": [0, 1]}, "features have 3 rows, target has 2"),
        ({"features": [[0, 1], [1, 0], [1, 1]]}, "features are int64; must be float32 or float64"),
        ({"features": np.zeros((3, 2), dtype=np.float16)}, "features are float16"),
        ({"target": [0.0, 1.0, 1.0]}, "target is float64; with class_names it must be integers"),
        ({"class_names": None}, "target is int64; without class_names it must be float32 or float64; for classes give"),
        ({"feature_names": ("a",)}, "1 feature_names for 2 features"),
        ({"feature_names": ("a", "a")}, "feature_names has a more than once"),
        ({"feature_names": (1, 2)}, "feature_names [1, 2]; must all be strings"),
        ({"class_names": ("yes", "yes")}, "class_names has yes more than once"),
        ({"target": [0, 0, 0], "class_names": ("no",)}, "there must be at least two classes"),
        ({"target": [0, 2, -1]}, "row 1 (counted from 0), target: 2; must be a class number from 0 to 1 (2 values"),
        (
            {"features": [[0.5, 1.0], [1.5, float("nan")], [float("inf"), 3.0]]},
            "row 1 (counted from 0), feature b: nan; must be finite (2 values to drop or fill in)",
        ),
        (
            {"target": [0.5, 1.0, float("-inf")], "class_names": None},
            "row 2 (counted from 0), target: -inf; must be finite",
        ),
    ],
)
def test_wrong_data_are_refused_with_the_source_and_the_rule(changed, problem):
    (message,) = problems_of(lambda: table(**changed))
    assert message.startswith("here: ")
    assert problem in message


def test_several_faults_are_reported_together():
    wrong = {"features": [[float("nan"), 0.0]] * 3, "target": [5, 5, 5]}
    assert len(problems_of(lambda: table(**wrong))) == 2


def test_as_table_returns_a_table_unchanged():
    made = table()
    assert as_table(made, "mine") is made


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        (["dog", "cat", "dog"], [1, 0, 1], ("cat", "dog")),
        (np.array(["dog", "cat", "dog"], dtype=object), [1, 0, 1], ("cat", "dog")),
        ([1, 3, 1], [0, 1, 0], ("1", "3")),
        (np.array([1, -1, 1], dtype=np.int8), [1, 0, 1], ("-1", "1")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
    ],
)
def test_whole_numbers_and_strings_of_a_pair_are_classes_in_sorted_order(labels, numbers, names):
    made = as_table((FEATURES, labels), "mine")
    assert made.target.dtype == np.int64
    assert made.target.tolist() == numbers
    assert made.class_names == names
    assert (made.feature_names, made.source) == (("x1", "x2"), "mine")


@pytest.mark.parametrize(("given", "kept"), [("f4", "f4"), ("f8", "f8"), ("f2", "f8"), (">f4", "f4")])
def test_floats_of_a_pair_are_a_regression(given, kept):
    made = as_table([np.array(FEATURES, dtype=given), np.array([0.5, 1.0, 2.0], dtype=given)], "mine")
    assert made.class_names is None
    assert made.features.dtype == made.target.dtype == np.dtype(kept)
    assert made.target.tolist() == [0.5, 1.0, 2.0]


def test_whole_numbers_as_features_become_float64():
    assert as_table(([[1, 2], [3, 4]], [0.5, 1.5]), "mine").features.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "returned a NoneType; must return a ch12cli.data.Table or a pair"),
        ({"x": 1}, "returned a dict"),
        ((1, 2, 3), "returned a tuple of 3"),
        (np.zeros((2, 2)), "returned a ndarray"),
        (([[1.0], [1.0, 2.0]], [0, 1]), "features cannot be converted to an array"),
        (([["a"], ["b"]], [0, 1]), "features are <U1; must be numbers"),
        (([[1.0], [None]], [0, 1]), "features are object; must be numbers"),
        (([1.0, 2.0, 3.0], [0, 1, 1]), "features have shape (3,)"),
        ((FEATURES, [0, None, 1]), "target is object; must be integers or strings"),
        ((FEATURES, [1j, 2j, 3j]), "target is complex128"),
        ((FEATURES, [[0], [1], [1]]), "target has shape (3, 1)"),
        ((FEATURES, [4, 7, 9]), "a class of its own for each row; for a regression give floats"),
        ((FEATURES, ["a", "a", "a"]), "there must be at least two classes"),
        (([], []), "features have shape (0,)"),
    ],
)
def test_a_value_that_is_not_a_data_set_is_refused_with_the_name_of_its_function(value, problem):
    (message,) = problems_of(lambda: as_table(value, "dataset._target_=mine.data"))
    assert message.startswith("dataset._target_=mine.data: ")
    assert problem in message


def test_the_data_package_does_not_import_torch():
    code = "import sys, ch12cli.data as d; d.prepare(d.iris(), test_size=0.2); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
