"""All single-letter mistakes of every name that a person types: the right name is suggested first in 95 of 100."""

import random
import re
import string
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ch12cli.cli.main import command_of, main
from ch12cli.cli.verbs import VERBS
from ch12cli.cli.verbs.train import parser
from ch12cli.config.check import check, hint
from ch12cli.config.choices import choices_of_group, keys_of_choice, known_keys, top_level
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.schema import GROUPS, HYDRA_KEYS, KEYS
from ch12cli.config.unknown import no_such_choice, no_such_key
from ch12cli.errors import InputError, Problem
from ch12cli.rules import describe_choices
from ch12cli.suggest import did_you_mean, distance, nearest

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of a keyboard
SHARE = 0.95  # of the mistakes that must lead to the right name
SAMPLE = 25  # mistakes that go through the whole command


def beside(letter: str) -> list[str]:
    """The letters around a letter on the keyboard; any for what is none."""
    for row, letters in enumerate(ROWS):
        place = letters.find(letter.lower())
        if place >= 0:
            around = [ROWS[r][max(0, place - 1) : place + 2] for r in range(max(0, row - 1), min(3, row + 2))]
            return sorted(set("".join(around)) - {letter.lower()})
    return list(string.ascii_lowercase)


def mistypings(name: str) -> list[str]:
    """Each letter left out, doubled, replaced by a neighbour and by any letter, each pair swapped; sorted."""
    draw = random.Random(name)
    found = set()
    for place, letter in enumerate(name):
        head, tail = name[:place], name[place + 1 :]
        found |= {head + tail, head + letter + letter + tail}
        found |= {head + draw.choice(beside(letter)) + tail, head + draw.choice(string.ascii_lowercase) + tail}
        if tail:
            found.add(head + tail[0] + letter + tail[1:])
    return sorted(found - {name, ""})


def first_suggestion(message: object) -> str | None:
    """The name that a message suggests first."""
    found = re.search(r"did you mean `([^`]+)`", str(message))
    return found.group(1) if found else None


class Count(NamedTuple):
    """Of how many mistakes each name is suggested first, and for which it is not: (name, mistake, suggestion)."""

    right: int
    wrong: list[tuple[str, str, str | None]]

    @property
    def share(self) -> float:
        return self.right / (self.right + len(self.wrong))


def count(names: Iterable[str], valid: Iterable[str], message: Callable[[str], object]) -> Count:
    """How often the right name comes first. valid: names that are right in themselves, which count as no mistake."""
    names, valid = list(names), set(valid)
    right, wrong = 0, []
    for name in names:
        for mistake in mistypings(name):
            if mistake in valid:
                continue
            suggestion = first_suggestion(message(mistake))
            if suggestion == name:
                right += 1
            else:
                wrong.append((name, mistake, suggestion))
    return Count(right, wrong)


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


def test_the_typos_are_all_single_letter_mistakes() -> None:
    found = mistypings("seed")
    assert {"eed", "sed", "see", "sseed", "seeed", "seedd", "esed", "sede"} <= set(found)
    assert all(distance(mistake, "seed") == 1 for mistake in found)
    assert len(found) >= 4 + 4 + 3


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("", "abc", 3),
        ("kitten", "sitting", 3),  # Levenshtein's own example
        ("ca", "abc", 3),  # where optimal string alignment differs from the unrestricted distance, 2
        ("lr", "rl", 1),
        ("same", "same", 0),
        ("momentm", "momentum", 1),
    ],
)
def test_the_distance_counts_letters_and_swaps(a: str, b: str, expected: int) -> None:
    assert distance(a, b) == expected
    assert distance(b, a) == expected


@pytest.mark.slow
def test_keys_at_the_top_and_of_the_choices_at_hand_are_suggested() -> None:
    of_defaults = {"dataset": "iris", "model": "mlp", "optimizer": "adam", "scheduler": "none"}
    known = [*top_level(), *GROUPS, *HYDRA_KEYS]
    for group, name in of_defaults.items():
        known += next(list(keys_of_choice(choice)) for choice in choices_of_group(group) if choice.name == name)
    typed = [key for key in known if not key.endswith("_target_")]
    choices: dict[str, str | None] = dict(of_defaults)
    counted = count(
        typed, [*known_keys(), *known], lambda key: no_such_key(f"{key}=1", key, known=known, choices=choices)
    )
    assert counted.right > 1500
    assert counted.share >= SHARE, counted.wrong


@pytest.mark.slow
def test_keys_of_every_other_choice_are_suggested_too() -> None:
    """With the defaults at hand, where these keys are not."""
    known = [*top_level(), *GROUPS, *HYDRA_KEYS]
    others = [key for key in known_keys() if key not in known and not key.endswith("_target_")]
    assert len(others) > 40
    counted = count(others, known_keys(), lambda key: no_such_key(f"{key}=1", key, known=known, choices={}))
    assert counted.right > 2000
    assert counted.share >= SHARE, counted.wrong


@pytest.mark.parametrize("group", GROUPS)
def test_choices_are_suggested(group: str) -> None:
    names = [choice.name for choice in choices_of_group(group)]
    counted = count(names, names, lambda name: no_such_choice(f"{group}={name}", name, names))
    assert counted.right >= 40
    assert counted.share >= SHARE, counted.wrong


@pytest.mark.slow
def test_words_of_keys_are_suggested() -> None:
    right, wrong = 0, []
    for key, (rule, _) in KEYS.items():
        words = [word for word in describe_choices(rule) if len(word) > 1]
        counted = count(words, describe_choices(rule), lambda word, rule=rule: hint(rule, word))
        right += counted.right
        wrong += [(key, *one) for one in counted.wrong if not rule.allows(one[1])]
    assert right > 1000
    assert right / (right + len(wrong)) >= SHARE, wrong


def test_verbs_are_suggested() -> None:
    def message(verb: str) -> str:
        with pytest.raises(InputError) as raised:
            command_of([verb])
        return str(raised.value)

    counted = count(VERBS, VERBS, message)
    assert counted.right >= 60
    assert counted.share >= SHARE, counted.wrong


@pytest.mark.slow
def test_options_are_suggested() -> None:
    arguments = parser()
    options = [option for action in arguments._actions for option in action.option_strings if option.startswith("--")]

    def message(option: str) -> str:
        with pytest.raises(InputError) as raised:
            parser().read([f"--{option}"])
        return str(raised.value).replace("`--", "`")

    names = [option.removeprefix("--") for option in options]
    assert len(names) >= 6
    counted = count(names, names, message)
    assert counted.right > 200
    assert counted.share >= SHARE, counted.wrong


@pytest.mark.slow
def test_a_sample_of_typos_is_tested_with_the_whole_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(3)
    lines: list[tuple[str, str, str]] = []  # (name, mistake, what is typed)
    for key in [*top_level(), "optimizer.lr", "model.width", "model.dropout", "dataset.test_size", "scheduler.warmup"]:
        lines += [(key, mistake, f"{mistake}=1") for mistake in mistypings(key)]
        lines += [(key, mistake, f"+{mistake}=1") for mistake in mistypings(key)]
    for group in GROUPS:
        lines += [(group, mistake, f"{mistake}=x") for mistake in mistypings(group)]
        for choice in choices_of_group(group):
            lines += [(choice.name, mistake, f"{group}={mistake}") for mistake in mistypings(choice.name)]
    valid = {*known_keys(), *GROUPS, *(choice.name for group in GROUPS for choice in choices_of_group(group))}
    sample = [line for line in draw.sample(lines, 2 * SAMPLE) if line[1] not in valid][:SAMPLE]
    assert len(sample) == SAMPLE
    wrong = []
    for name, _, typed in sample:
        assert main(["train", typed]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        if first_suggestion(captured.err) != name:
            wrong.append((name, typed, captured.err))
    assert len(wrong) <= (1 - SHARE) * SAMPLE, wrong
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "optimizer.lr"),
        ("learning-rate", None),
        ("batchsize", "batch_size"),
        ("batch-size", "batch_size"),
        ("Epochs", "epochs"),
        ("optim.lr", "optimizer.lr"),
        ("early_stoping.patience", "early_stopping.patience"),
        ("zzzzzz", None),
    ],
)
def test_other_usual_mistakes(typed: str, meant: str | None) -> None:
    near = nearest(typed, known_keys())
    assert (near[0] if near else None) == meant


def test_at_most_three_similar_names_are_suggested() -> None:
    assert did_you_mean("xelu", ["relu", "gelu", "selu", "elu", "silu"]).count("`") == 6
    assert did_you_mean("quaternion", ["relu", "gelu"]) == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("valid_acc", ["valid_accuracy"]),  # nearer by its letters: valid_auc
        ("valid_bal", ["valid_balanced_accuracy"]),  # valid_mae
        ("valid_a", ["valid_accuracy", "valid_auc"]),
        ("val", []),
    ],
)
def test_the_beginning_of_a_few_names_means_these(typed: str, meant: list[str]) -> None:
    known = ["train_accuracy", "valid_loss", "valid_accuracy", "valid_balanced_accuracy", "valid_auc", "valid_mae"]
    assert nearest(typed, known) == meant


def test_legitimate_arguments_of_torch_are_not_taken_for_mistakes(composer: Composer) -> None:
    for line in (
        "optimizer=sgd +optimizer.maximize=true",
        "optimizer=sgd +optimizer.foreach=true",
        "optimizer=adam +optimizer.fused=true",
        "optimizer=rmsprop +optimizer.capturable=true",
        "activation=relu +activation.inplace=true",
        "activation=softplus +activation.threshold=10",
        "loss=cross_entropy +loss.ignore_index=-1",
        "loss=cross_entropy +loss.reduction=mean",
    ):
        problems: list[Problem] = []
        composition = composer.compose(line.split(), problems)
        assert problems + check(composition.settings, composition.choices) == [], line


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("Fashion-MNIST", "dataset=idx dataset.folder=FOLDER"),
        ("cifar10", "dataset=image_folder dataset.folder=FOLDER"),
        ("titanic", "dataset=table dataset.file=FILE"),
    ],
)
def test_a_well_known_data_set_says_how_to_bring_it(name: str, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"dataset={name}"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"ch12: dataset={name}: no such choice; ch12 fetches no data; ")
    assert way in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["hydra/launcher=slurm", "hydra.launcher.partitoin=x"],
            "launcher.partitoin=x: no such key; did you mean ",
        ),
        (
            ["hydra/launcher=slurm", "hydra.launcher.zone=9"],
            "no such key; hydra.launcher has partition, ",
        ),
        (["hydra/sweeper=search", "hydra.sweeper.ntrials=3"], "did you mean `hydra.sweeper.n_trials`?"),
    ],
)
def test_keys_of_launchers_and_sweepers_are_suggested(
    words: list[str], says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", *words, "seed=1,2"]) == 2
    assert says in capsys.readouterr().err
    assert not any(folder.iterdir())
