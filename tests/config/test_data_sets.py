"""A data set that ch12 ships is a function, a YAML file, rules for its arguments and at most one line of a table."""

import inspect
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import ch12cli.data
from ch12cli.config.choices import Choice, choices_of_group, keys_of_choice
from ch12cli.config.combinations import DATASETS, VALUES
from ch12cli.config.run_settings import SPLIT_DEFAULTS
from ch12cli.config.schema import KEYS
from ch12cli.config.targets import Target, build
from ch12cli.config.untrusted_settings import is_shipped
from ch12cli.data import Table, prepare
from ch12cli.data.text_file import SEPARATORS
from ch12cli.models.feedforward import OUTPUTS
from ch12cli.models.init import INITS
from ch12cli.rules import OneOf

CHOICES = choices_of_group("dataset")
HELPERS = {"as_table", "prepare"}  # functions of ch12cli.data that are no data sets


def target_of(choice: Choice) -> str:
    return str(keys_of_choice(choice)["dataset._target_"])


def test_every_function_of_a_data_set_has_a_choice_and_every_choice_a_function() -> None:
    functions = {name for name in ch12cli.data.__all__ if inspect.isfunction(getattr(ch12cli.data, name))} - HELPERS
    assert len(functions) >= 5
    assert {target_of(choice) for choice in CHOICES} == {f"ch12cli.data.{name}" for name in functions}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_a_choice_has_a_description_and_a_rule_for_each_key(choice: Choice) -> None:
    assert choice.meaning
    keys = keys_of_choice(choice)
    assert [key for key in keys if key != "dataset._target_" and key not in KEYS] == []
    wrong = {key: value for key, value in keys.items() if key in KEYS and value != "???"}
    assert [key for key, value in wrong.items() if not KEYS[key].rule.allows(value)] == []


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_a_saved_run_may_name_the_data_set(choice: Choice) -> None:
    assert is_shipped("dataset", target_of(choice))
    assert not is_shipped("dataset", "ch12cli.data.prepare")


def test_the_table_of_data_sets_has_the_right_classes_and_rows() -> None:
    for choice in [choice for choice in CHOICES if target_of(choice) in DATASETS]:
        keys = {key.partition(".")[2]: value for key, value in keys_of_choice(choice).items()}
        node: dict[str, Any] = {name: value for name, value in keys.items() if name not in SPLIT_DEFAULTS}
        table: Table = build("dataset", Target.from_node(node))
        kind = DATASETS[target_of(choice)]
        assert kind.classes == (len(table.class_names) if table.class_names else VALUES)
        assert len(table.features) == (node["size"] if kind.rows is None else kind.rows)
    assert set(DATASETS) <= set(map(target_of, CHOICES))


def test_rules_and_functions_name_the_same_choices() -> None:
    functions: list[tuple[str, Any]] = [("dataset", prepare)]
    functions += [("dataset", getattr(ch12cli.data, target_of(choice).rpartition(".")[2])) for choice in CHOICES]
    compared = {}
    for group, function in functions:
        for name, hint in get_type_hints(function).items():
            if get_origin(hint) is Literal:
                compared[f"{group}.{name}"] = set(get_args(hint))
    compared["dataset.separator"] = {"auto", *SEPARATORS}
    compared["model.init"] = {"torch", *INITS}
    compared["model.output"] = {"auto", "none", *OUTPUTS}
    assert len(compared) >= 10
    assert {key: set(words_of(KEYS[key].rule)) for key in compared} == compared
    written = {key for key, known in KEYS.items() if key.startswith("dataset.") and words_of(known.rule)}
    assert written <= set(compared)


def words_of(rule: Any) -> tuple[str, ...]:
    return rule.words if isinstance(rule, OneOf) else ()
