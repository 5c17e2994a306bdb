"""The private interfaces of Hydra and OmegaConf that ch12 uses, each against Hydra's public interface."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from ch12cli.config.choices import shipped
from ch12cli.config.hydra_internals import (
    BASIC_SWEEPER,
    Callbacks,
    ConfigLoader,
    apply_override,
    cached,
    defaults_list,
    has_key,
    hydra_session,
    make_loader,
    override_dirname,
    split_into_jobs,
)
from ch12cli.errors import InputError
from tests.conftest import Train


@pytest.fixture(scope="module")
def loader() -> Iterator[ConfigLoader]:
    with hydra_session():
        yield make_loader([])


def composed_by_hydra(*overrides: str) -> Any:
    with initialize_config_dir(str(shipped()), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def job_part(config: Any) -> Any:
    plain: Any = OmegaConf.to_container(config, resolve=False)
    del plain["hydra"]
    return plain


def test_a_run_leaves_nothing_of_hydras_behind(train: Train) -> None:
    with initialize_config_dir(str(shipped()), version_base="1.3"):
        compose("config")
    before, resolvers = dict(Singleton._instances), set(BaseContainer._resolvers)
    assert len(before) >= 4
    train("epochs=1", "batch_size=32")
    assert dict(Singleton._instances) == before  # the same objects
    assert set(BaseContainer._resolvers) == resolvers
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(shipped()), version_base="1.3"):  # as a notebook of the user's own might
        assert compose("config").epochs == 100


def test_a_refused_run_leaves_nothing_of_hydras_behind_either(train: Train) -> None:
    before = dict(Singleton._instances)
    with pytest.raises(InputError):
        train("epochs=0")
    assert {kind: Singleton._instances[kind] for kind in before} == before
    assert HydraConfig not in before or HydraConfig.instance().cfg is before[HydraConfig].cfg  # type: ignore[attr-defined]


def test_a_program_that_initialised_hydra_keeps_its_state(train: Train) -> None:
    with initialize_config_dir(str(shipped()), version_base="1.3"):
        mine = GlobalHydra.instance()
        train("epochs=1", "batch_size=32")
        assert GlobalHydra.instance() is mine
        assert compose("config", ["epochs=2"]).epochs == 2


def test_a_session_removes_the_resolvers_that_are_registered_in_it() -> None:
    OmegaConf.register_new_resolver("of_the_caller", lambda: "kept")
    try:
        with hydra_session():
            OmegaConf.register_new_resolver("of_the_session", lambda: 1)
            assert OmegaConf.has_resolver("of_the_caller")
        assert OmegaConf.has_resolver("of_the_caller")
        assert not OmegaConf.has_resolver("of_the_session")
    finally:
        OmegaConf.clear_resolver("of_the_caller")


def test_a_configuration_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    file = tmp_path / "optimizer" / "mine.yaml"
    file.write_text("_target_: torch.optim.SGD\nlr: 0.1\n")
    with hydra_session():
        loader = make_loader([tmp_path])
        overrides = ["optimizer=mine"]
        first = loader.load_configuration("config", overrides, run_mode=RunMode.RUN)
        file.write_text("_target_: torch.optim.SGD\nlr: 0.2\n")
        second = loader.load_configuration("config", overrides, run_mode=RunMode.RUN)
        assert (first.optimizer.lr, second.optimizer.lr) == (0.1, 0.1)
        assert make_loader([tmp_path]).load_configuration("config", overrides, RunMode.RUN).optimizer.lr == 0.2


def test_a_data_set_has_the_split_keys_that_its_file_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("_target_: mine.data\ntest_size: 0.5\n")
    with hydra_session():
        config = make_loader([tmp_path]).load_configuration("config", ["dataset=mine"], run_mode=RunMode.RUN)
    assert (config.dataset.test_size, config.dataset.valid_size, config.dataset.split) == (0.5, 0.0, "random")


def test_a_search_path_override_adds_its_folder(tmp_path: Path, loader: ConfigLoader) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("lr: 1\n")
    assert not loader.repository.config_exists("optimizer/mine")
    repository = loader.repository_for("config", [f"hydra.searchpath=[file://{tmp_path}]"])
    assert repository.config_exists("optimizer/mine")


def test_the_options_of_a_group_include_those_in_folders_below_it(loader: ConfigLoader) -> None:
    folder = shipped() / "experiment"
    files = sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.yaml"))
    assert len(files) > 5
    assert sorted(loader.get_group_options("experiment")) == files


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "override",
    ["epochs=7", "+model.extra=[1,2]", "++optimizer.lr=0.5", "~optimizer.amsgrad", "early_stopping={patience:3}"],
)
def test_an_override_is_applied_as_hydra_applies_it(override: str, loader: ConfigLoader) -> None:
    config = loader.load_configuration("config", [], run_mode=RunMode.RUN)
    apply_override(OverridesParser.create().parse_override(override), config)
    assert job_part(config) == job_part(composed_by_hydra(override))


def test_the_directory_name_of_overrides_equals_hydras(loader: ConfigLoader) -> None:
    overrides = ["seed=3", "epochs=7", "+model.extra=a"]
    config = loader.load_configuration("config", [], run_mode=RunMode.RUN)
    name = override_dirname(OverridesParser.create().parse_overrides(overrides), config)
    assert name == composed_by_hydra(*overrides).hydra.job.override_dirname == "+model.extra=a,epochs=7,seed=3"


def test_the_defaults_list_names_the_files_in_order_and_who_chose_them(loader: ConfigLoader) -> None:
    overrides = OverridesParser.create().parse_overrides(["optimizer=sgd"])
    listed = defaults_list(cached(loader.repository), "config", overrides)
    paths = [entry.config_path for entry in listed.defaults if not str(entry.config_path).startswith("hydra")]
    groups = ["dataset/iris", "model/mlp", "activation/relu", "loss/auto", "optimizer/sgd", "scheduler/none"]
    assert paths == [*groups, "config"]
    assert listed.overrides.override_metadata["optimizer"].external_override


def test_a_key_exists_with_any_value() -> None:
    config = OmegaConf.create({"a": {"b": "???", "c": "${nowhere}", "d": None}})
    assert [has_key(config, key) for key in ("a", "a.b", "a.c", "a.d")] == [True] * 4
    assert [has_key(config, key) for key in ("b", "a.e", "a.b.c")] == [False] * 3


def test_overrides_are_split_into_their_product() -> None:
    overrides = OverridesParser.create().parse_overrides(["seed=1,2", "epochs=5", "model.width=range(3)"])
    expected = [[f"seed={s}", "epochs=5", f"model.width={w}"] for s, w in product((1, 2), range(3))]
    assert split_into_jobs(overrides) == expected


def test_the_basic_sweeper_has_the_name_that_hydras_configuration_gives_it() -> None:
    assert OmegaConf.structured(HydraConf).defaults[2] == {"sweeper": "basic"}
    assert composed_by_hydra().hydra.sweeper._target_ == BASIC_SWEEPER


def test_callbacks_are_notified_in_order() -> None:
    config = OmegaConf.create(
        {"hydra": {"callbacks": {"log": {"_target_": "hydra.experimental.callbacks.LogJobReturnCallback"}}}}
    )
    assert [type(callback).__name__ for callback in Callbacks(config).callbacks] == ["LogJobReturnCallback"]
    assert Callbacks(OmegaConf.create({})).callbacks == []
