"""Composed configurations against Hydra's own composition; searched folders; nothing of Hydra's left behind."""

import os
import random
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ch12cli.config.check import check
from ch12cli.config.choices import shipped
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.schema import GROUPS
from ch12cli.config.settings import copy_of_config
from ch12cli.config.values import shown
from ch12cli.errors import InputError, Problem

LINES = [
    "",
    "epochs=3 batch_size=7",
    "optimizer=sgd optimizer.momentum=0.9 optimizer.nesterov=true",
    "model=linear dataset=two_class dataset.shape=moons",
    "experiment=book/iris",
    "experiment=book/xor_mlp optimizer=adam optimizer.lr=0.02",
    "experiment=debug/fast epochs=9",
    "+optimizer.maximize=true ++model.width=9 ++activation.inplace=true",
    "~optimizer.amsgrad",
    "early_stopping={patience:3,min_delta:0.5}",
    "monitor=train_loss",
    "optimizer.betas=[0.8,0.99] optimizer.lr=1e-4",
    "batch_size=${epochs} seed=${model.width}",
    "scheduler=cosine scheduler.T_max=null clip_grad_norm=1",
    "optimizer.lr='0.1' hydra.run.dir=x/y",
    "epochs=1 epochs=2",
    "dataset=two_class dataset=iris",
]


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


def composed(composer: Composer, words: list[str]) -> Any:
    problems: list[Problem] = []
    composition = composer.compose(words, problems)
    assert problems == []
    return composition


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("hydra.run.dir=here",),
        (
            "optimizer=sgd",
            "hydra.run.dir=x",
            "hydra.verbose=true",
            "hydra.sweep.dir=y",
            "hydra.sweep.subdir=${seed}_${none}",
            "hydra.run.dir=${seed}",
        ),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("run_mode", [RunMode.RUN, RunMode.MULTIRUN])
def test_a_later_composition_of_the_same_files_is_a_copy_that_hydra_would_have_composed(
    argv: tuple[str, ...], run_mode: RunMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hydra_session():
        first = Composer().load(argv, run_mode)
        first.epochs = 12345
        monkeypatch.chdir(tmp_path)
        copy, anew = Composer().load(argv, run_mode), Composer().load_new(argv, run_mode)
    assert OmegaConf.to_yaml(copy) == OmegaConf.to_yaml(anew)
    assert (OmegaConf.is_struct(copy), OmegaConf.is_readonly(copy.hydra)) == (True, OmegaConf.is_readonly(anew.hydra))
    assert copy.hydra.runtime.cwd == str(tmp_path)


OWN_GROUPS = [group for group in GROUPS if group != "experiment"]


def choices_in(group: str) -> list[str]:
    return sorted(file.stem for file in (shipped() / group).glob("*.yaml"))


def nodes(config: Any, path: str = "") -> list[tuple[Any, ...]]:
    """The path, flags and types of each node."""
    about, found = config._metadata, []
    if isinstance(config, DictConfig) and not config._is_none() and not config._is_interpolation():
        found = [node for name in map(str, config) for node in nodes(config._get_node(name), f"{path}.{name}")]
    flags = {name: value for name, value in (about.flags or {}).items() if value is not None}
    return [(path, flags, about.object_type, about.ref_type, about.optional), *found]


@pytest.mark.sample(10)
@pytest.mark.parametrize("number", range(100))
def test_other_choices_of_groups_give_what_hydra_composes(number: int, composer: Composer) -> None:
    draw = random.Random(number)
    every = [(group, choice) for group in OWN_GROUPS for choice in choices_in(group)]
    pairs = dict([every[number % len(every)], *draw.sample(every, draw.randint(0, 5))])
    further = draw.choice([(), ("hydra.sweeper.max_batch_size=3",), ("hydra/launcher=slurm", "hydra.verbose=true")])
    argv = (*(f"{group}={choice}" for group, choice in pairs.items()), *further)
    run_mode = draw.choice([RunMode.RUN, RunMode.MULTIRUN])
    found = composer.with_other_choices(argv, run_mode)
    assert (found is None) is (pairs.get("dataset") == "csv")  # which brings defaults of its own
    if found is not None:
        expected = composer.load_new(argv, run_mode)
        expected.hydra.runtime.cwd = found.hydra.runtime.cwd
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
        assert nodes(found) == nodes(expected)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("hydra.verbose=true",),
        ("experiment=book/iris", "optimizer=sgd"),
        ("optimizer=sgd", "optimizer=adam"),
        ("+optimizer=sgd",),
        ("~scheduler",),
        ("optimizer@other=sgd",),
        ("optimizer=nothing",),
    ],
    ids=" ".join,
)
def test_what_is_more_than_another_choice_is_left_to_hydra(argv: tuple[str, ...], composer: Composer) -> None:
    assert composer.with_other_choices(argv, RunMode.RUN) is None


def test_a_changed_file_or_a_new_node_of_the_config_store_is_composed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shipped(), tmp_path / "conf")
    for module in ("compose", "hydra_internals"):
        monkeypatch.setattr(f"ch12cli.config.{module}.shipped", lambda: tmp_path / "conf")
    with hydra_session():
        assert Composer().load(("optimizer=sgd",), RunMode.RUN).optimizer.momentum == 0.0
        file = tmp_path / "conf" / "optimizer" / "sgd.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace("momentum: 0.0", "momentum: 0.5"), encoding="utf-8")
        os.utime(file, ns=(1, 1))
        assert Composer().load(("optimizer=sgd",), RunMode.RUN).optimizer.momentum == 0.5
        ConfigStore.instance().store(group="optimizer", name="stored", node={"_target_": "torch.optim.SGD", "lr": 0.25})
        assert Composer().load(("optimizer=stored",), RunMode.RUN).optimizer.lr == 0.25
        ConfigStore.instance().store(group="optimizer", name="stored", node={"_target_": "torch.optim.SGD", "lr": 0.75})
        assert Composer().load(("optimizer=stored",), RunMode.RUN).optimizer.lr == 0.75
        del ConfigStore.instance().repo["optimizer"]["stored.yaml"]


@pytest.mark.sample(7)
@pytest.mark.parametrize("line", LINES)
def test_a_job_is_composed_as_hydra_composes_it(line: str, composer: Composer) -> None:
    words = line.split()
    mine = composed(composer, words)
    with initialize_config_dir(str(shipped()), version_base="1.3"):
        theirs = compose("config", words, return_hydra_config=True)
    found: Any = OmegaConf.to_container(mine.config, resolve=False)
    job = {name: node for name, node in found.items() if name != "hydra"}
    expected: Any = OmegaConf.to_container(theirs, resolve=False)
    assert list(job) == [name for name in expected if name != "hydra"]
    assert job == {name: node for name, node in expected.items() if name != "hydra"}
    hydra, of_hydra = mine.config.hydra, theirs.hydra
    assert hydra.overrides == of_hydra.overrides
    assert hydra.job.override_dirname == of_hydra.job.override_dirname
    assert hydra.runtime.choices == of_hydra.runtime.choices
    assert hydra.run.dir is not None


@pytest.mark.sample(7)
@pytest.mark.parametrize("line", LINES)
def test_settings_are_a_job_with_resolved_interpolations(line: str, composer: Composer) -> None:
    words = line.split()
    settings = composed(composer, words).settings
    with initialize_config_dir(str(shipped()), version_base="1.3"):
        assert settings == OmegaConf.to_container(compose("config", words), resolve=True)


def test_one_composition_does_not_change_the_next(composer: Composer) -> None:
    before = composed(composer, []).settings
    composed(composer, ["epochs=7", "+optimizer.maximize=true", "model.width=99"]).settings["epochs"] = -1
    assert composed(composer, []).settings == before


def test_the_command_line_overrides_a_preset_in_any_order(composer: Composer) -> None:
    for words in (["experiment=book/iris", "epochs=7"], ["epochs=7", "experiment=book/iris"]):
        settings = composed(composer, words).settings
        assert settings["epochs"] == 7
        assert settings["dataset"]["scaling"] == "global"


def test_wrong_overrides_are_left_out_so_that_the_rest_can_be_checked(composer: Composer) -> None:
    problems: list[Problem] = []
    composition = composer.compose(["optimizer=sdg", "epohcs=3", "batch_size=9", "model.width=${nope}"], problems)
    assert len(problems) == 3
    assert composition.settings["batch_size"] == 9
    assert composition.settings["optimizer"]["_target_"] == "torch.optim.Adam"
    assert check(composition.settings, composition.choices) == []


def test_the_users_folder_is_searched_after_ch12s_own(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "nadam.yaml").write_text("_target_: torch.optim.NAdam\nlr: 0.003\n")
    (tmp_path / "optimizer" / "adam.yaml").write_text("_target_: nothing.of.mine\n")
    (tmp_path / "mine.yaml").write_text("defaults:\n  - config\n  - _self_\nepochs: 5\n")
    with hydra_session():
        composer = Composer([tmp_path])
        assert composed(composer, ["optimizer=nadam"]).settings["optimizer"]["lr"] == 0.003
        assert composed(composer, ["optimizer=adam"]).settings["optimizer"]["_target_"] == "torch.optim.Adam"
        composer = Composer([tmp_path], config_name="mine")
        assert composed(composer, []).settings["epochs"] == 5
        by_path = composed(Composer(), [f"hydra.searchpath=[file://{tmp_path}]", "optimizer=nadam"])
        assert by_path.settings["optimizer"]["lr"] == 0.003
        (tmp_path / "top").mkdir()
        words = f"defaults:\n  - config\n  - _self_\nhydra:\n  searchpath: [file://{tmp_path}]\n"
        (tmp_path / "top" / "searching.yaml").write_text(words)
        by_file = composed(Composer([tmp_path / "top"], config_name="searching"), ["optimizer=nadam"])
        assert by_file.settings["optimizer"]["lr"] == 0.003
    with pytest.raises(InputError, match="no such folder"), hydra_session():
        Composer([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (None, "null"),
        (True, "true"),
        (0.1, "0.1"),
        (1e-8, "1e-08"),
        ([0.9, 0.999], "[0.9,0.999]"),
        ("adam", "adam"),
        ("0.1", "'0.1'"),
        ({"a": 1, "b": None}, "{a:1,b:null}"),
    ],
)
def test_a_printed_value_parses_to_the_same_value(value: Any, typed: str, composer: Composer) -> None:
    assert shown(value) == typed
    problems: list[Problem] = []
    composition = composer.compose([f"++model.extra={typed}"], problems)
    assert problems == []
    assert composition.settings["model"]["extra"] == value


def test_a_copied_configuration_is_deepcopys_and_independent() -> None:
    @dataclass
    class Local:  # which pickle cannot copy
        a: int = 1

    for node in (OmegaConf.structured(Local), OmegaConf.create({"a": 1})):
        config = OmegaConf.create({"x": node, "y": ["${x.a}", None], "z": "???"})
        OmegaConf.set_struct(config, True)
        copy = copy_of_config(config)
        expected = deepcopy(config)
        assert copy == expected
        assert OmegaConf.get_type(copy, "x") is OmegaConf.get_type(expected, "x")
        assert OmegaConf.is_struct(copy)
        copy.x.a = 2
        assert (copy["y"][0], config["y"][0]) == (2, 1)
