"""Every row goes to one part, by the rule that was asked for."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from ch12cli.data import Table, iris, prepare, toy_regression, two_class
from ch12cli.data.split import split_rows
from ch12cli.errors import InputError


def with_classes(*counts):
    """A table with so many rows of each class, in order."""
    target = np.repeat(np.arange(len(counts)), counts)
    names = tuple("abcdef"[: len(counts)])
    features = np.arange(len(target), dtype=np.float64).reshape(-1, 1)
    return Table(features, target, feature_names=("x",), target_name="y", class_names=names, source="made")


def counts_of(table, parts):
    return [np.bincount(table.target[rows], minlength=table.classes).tolist() for rows in parts]


@pytest.mark.parametrize("test_size", [50, 1 / 3])
def test_a_random_third_of_the_flowers_is_the_chapters_split(test_size):
    parts = split_rows(iris(), test_size=test_size, valid_size=0, split="random", split_seed=1)
    shuffled = np.random.RandomState(1).permutation(150)
    assert parts.test.tolist() == shuffled[:50].tolist()
    assert parts.train.tolist() == shuffled[50:].tolist()
    assert len(parts.valid) == 0


def test_a_random_split_takes_validation_rows_after_the_test_rows():
    parts = split_rows(iris(), test_size=30, valid_size=20, split="random", split_seed=7)
    shuffled = np.random.RandomState(7).permutation(150).tolist()
    assert parts.test.tolist() == shuffled[:30]
    assert parts.valid.tolist() == shuffled[30:50]
    assert parts.train.tolist() == shuffled[50:]


def test_the_xor_halves_are_the_chapters_in_order():
    parts = split_rows(two_class(), test_size=0.0, valid_size=0.5, split="ordered")
    assert parts.train.tolist() == list(range(100))
    assert parts.valid.tolist() == list(range(100, 200))
    assert len(parts.test) == 0


def test_an_ordered_split_ends_with_the_test_rows():
    parts = split_rows(toy_regression(), test_size=2, valid_size=3, split="ordered")
    assert [rows.tolist() for rows in parts] == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    ("size", "rows"), [(0.2, 30), (0.201, 31), (1e-9, 1), (1, 1), (0, 0), (0.0, 0), (149, 149), (np.int64(3), 3)]
)
def test_a_fraction_is_rounded_up_and_a_whole_number_is_a_count(size, rows):
    assert len(split_rows(iris(), test_size=size).test) == rows
    assert len(split_rows(iris(), valid_size=size).valid) == rows


@pytest.mark.parametrize("how", ["random", "stratified", "ordered"])
@pytest.mark.parametrize(("test_size", "valid_size"), [(0.2, 0.2), (50, 0), (0, 0), (0, 7), (33, 0.5)])
def test_every_row_is_in_exactly_one_part(how, test_size, valid_size):
    parts = split_rows(iris(), test_size=test_size, valid_size=valid_size, split=how, split_seed=5)
    assert sorted(np.concatenate(parts).tolist()) == list(range(150))


def test_a_stratified_split_keeps_equal_classes_equal():
    flowers = iris()
    parts = split_rows(flowers, test_size=0.2, valid_size=0.2, split="stratified")
    assert counts_of(flowers, parts) == [[30, 30, 30], [10, 10, 10], [10, 10, 10]]


@pytest.mark.parametrize(
    ("counts", "test", "valid", "expected"),
    [
        ((60, 30, 10), 20, 30, [[30, 15, 5], [18, 9, 3], [12, 6, 2]]),
        # test: 3.33, 2, 1.67 -> 3, 2, 2; of the 7, 4, 3 left, valid: 2, 1.14, 0.86 -> 2, 1, 1
        ((10, 6, 5), 7, 4, [[5, 3, 2], [2, 1, 1], [3, 2, 2]]),
        # equal remainders, 16.67 each: the lower classes get one more; what is left evens out
        ((50, 50, 50), 50, 50, [[16, 17, 17], [17, 16, 17], [17, 17, 16]]),
    ],
)
def test_a_stratified_split_gives_what_is_left_over_to_the_largest_remainders(counts, test, valid, expected):
    made = with_classes(*counts)
    assert counts_of(made, split_rows(made, test_size=test, valid_size=valid, split="stratified")) == expected


@pytest.mark.parametrize("how", ["random", "stratified"])
def test_a_split_depends_on_its_seed_alone(how):
    parts = [split_rows(iris(), test_size=0.2, valid_size=0.2, split=how, split_seed=seed) for seed in (1, 1, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(parts[0], parts[1], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(parts[0], parts[2], strict=True))


def test_a_stratified_training_part_is_not_sorted_by_class():
    flowers = iris()
    target = flowers.target[split_rows(flowers, test_size=0.2, split="stratified").train]
    assert np.count_nonzero(np.diff(target)) > 40  # 2 if sorted, about 80 by chance


@pytest.mark.parametrize(
    ("sizes", "keys"),
    [
        ({"test_size": 150}, "dataset.test_size=150: "),
        ({"valid_size": 151}, "dataset.valid_size=151: "),
        ({"test_size": 0.5, "valid_size": 0.5}, "dataset.test_size=0.5, dataset.valid_size=0.5: "),
        ({"test_size": 100, "valid_size": 0.9}, "dataset.test_size=100, dataset.valid_size=0.9: "),
        ({"test_size": 0.999}, "dataset.test_size=0.999: "),
    ],
)
def test_a_split_without_training_rows_is_refused_with_the_sizes(sizes, keys):
    with pytest.raises(InputError) as caught:
        split_rows(iris(), **sizes)
    assert caught.value.messages == [f"{keys}leaves none of 150 rows for training; take fewer"]


@pytest.mark.parametrize("size", [-1, -0.1, 1.0, 50.0, float("nan"), "a", None, True])
def test_a_size_must_be_a_fraction_or_a_number_of_rows(size):
    with pytest.raises(InputError) as caught:
        split_rows(iris(), test_size=size, valid_size=size, split="strat", split_seed=-1)  # type: ignore[arg-type]
    sizes, others = caught.value.messages[:2], caught.value.messages[2:]
    for problem, key in zip(sizes, ("test_size", "valid_size"), strict=True):
        assert problem.startswith(f"dataset.{key}={size}: must be a fraction of the rows")
    assert others == [
        "dataset.split=strat: must be one of random, stratified, ordered; did you mean stratified?",
        "dataset.split_seed=-1: must be a whole number from 0 to 4294967295",
    ]


def test_a_regression_cannot_be_stratified():
    with pytest.raises(InputError, match=r"^dataset\.split=stratified: needs classes.*use random or ordered$"):
        split_rows(toy_regression(), test_size=2, split="stratified")


@pytest.mark.parametrize(
    ("counts", "sizes", "problem"),
    [
        ((98, 2), {"test_size": 1}, "dataset.test_size has 1 of 100 rows"),
        ((98, 2), {"valid_size": 1}, "dataset.valid_size has 1 of 100 rows"),
        ((9, 1), {"test_size": 9}, "the training part has 1 of 10 rows"),
    ],
)
def test_a_stratified_part_with_fewer_rows_than_classes_is_refused(counts, sizes, problem):
    with pytest.raises(InputError) as caught:
        split_rows(with_classes(*counts), split="stratified", **sizes)
    (message,) = caught.value.messages
    assert message.startswith(f"dataset.split=stratified: {problem}, too few for one of each of the 2 classes; ")
    assert message.endswith("or use dataset.split=random")


def test_a_class_too_rare_for_every_part_is_trained_on_with_a_note():
    made = with_classes(97, 1, 2)
    ready = prepare(made, test_size=20, valid_size=20, split="stratified")
    train, valid, test = counts_of(made, (ready.train.rows, ready.valid.rows, ready.test.rows))
    assert train[1] == 1
    assert train[2] >= 1
    assert np.sum([train, valid, test], axis=0).tolist() == [97, 1, 2]
    assert any(note.startswith("class b (1 of 100 rows) is in no validation and no test row") for note in ready.notes)


@pytest.mark.parametrize("seed", [1, 2])
def test_folds_are_those_of_scikit_learn(seed):
    made = with_classes(41, 30, 12)
    of_test = split_rows(made, test_size=13, split_seed=seed).test.tolist()
    rest = np.random.RandomState(seed).permutation(83)[13:]
    for fold, (train, valid) in enumerate(KFold(4).split(rest)):
        parts = split_rows(made, test_size=13, split_seed=seed, folds=4, fold=fold)
        assert [parts.train.tolist(), parts.valid.tolist()] == [rest[train].tolist(), rest[valid].tolist()]
        assert parts.test.tolist() == of_test
    ordered = [split_rows(made, split="ordered", folds=4, fold=fold).valid.tolist() for fold in range(4)]
    assert ordered == [valid.tolist() for _, valid in KFold(4).split(made.features)]
    found = [split_rows(made, split="stratified", split_seed=seed, folds=4, fold=fold) for fold in range(4)]
    expected = [valid for _, valid in StratifiedKFold(4).split(made.features, made.target)]
    assert counts_of(made, [parts.valid for parts in found]) == counts_of(made, expected)
    assert sorted(np.concatenate([parts.valid for parts in found]).tolist()) == list(range(83))
    assert all(sorted([*parts.train, *parts.valid]) == list(range(83)) for parts in found)


@pytest.mark.parametrize("how", ["random", "stratified"])
@pytest.mark.parametrize("folds", [None, 4])
def test_no_group_is_in_two_parts(how, folds):
    random = np.random.RandomState(3)
    patients = np.array([f"p{number}" for number in random.randint(60, size=400)])
    target = random.binomial(1, 0.3, size=400)
    made = Table(
        np.zeros((400, 1)),
        target,
        feature_names=("x",),
        target_name="y",
        class_names=("no", "yes"),
        source="made",
        groups=patients,
    )
    validated = []
    for fold in range(folds or 1):
        given = {"folds": folds, "fold": fold} if folds else {"valid_size": 0.25}
        parts = split_rows(made, test_size=0.2, split=how, split_seed=5, **given)
        assert sorted(np.concatenate(parts).tolist()) == list(range(400))
        groups = [set(patients[rows].tolist()) for rows in parts]
        assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
        assert abs(len(parts.test) - 80) < 15
        assert abs(len(parts.valid) - (80 if folds else 100)) < 20
        if how == "stratified":
            assert all(abs(target[rows].mean() - target.mean()) < 0.08 for rows in parts)
        validated += parts.valid.tolist()
    if folds:
        assert len(validated) == len(set(validated)) == 400 - len(parts.test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 5}, "add dataset.fold=0, or train all folds with -m"),
        ({"fold": 1}, "dataset.fold=1: is of no use without dataset.folds"),
        ({"folds": 5, "fold": 5}, "dataset.fold=5: must be a whole number from 0 to 4"),
        ({"folds": 1, "fold": 0}, "dataset.folds=1: must be a whole number from 2"),
        ({"folds": 200, "fold": 0}, "dataset.folds=200: only 150 rows to divide"),
    ],
)
def test_folds_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        split_rows(iris(), **arguments)


def test_too_few_groups_and_groups_in_order_are_refused():
    flowers = iris()
    made = Table(
        flowers.features,
        flowers.target,
        feature_names=flowers.feature_names,
        target_name="y",
        class_names=flowers.class_names,
        source="made",
        groups=np.arange(150) % 2,
    )
    with pytest.raises(InputError, match="2 groups are too few for 3 parts"):
        split_rows(made, test_size=0.2, valid_size=0.2)
    with pytest.raises(InputError, match="cannot keep groups together"):
        split_rows(made, test_size=0.2, split="ordered")
