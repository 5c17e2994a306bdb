"""What users bring to a configuration: keys and groups of their own, Hydra's instantiation keys, modules to import."""

import csv
import json
import os
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.config_store import ConfigStore

from ch12cli.cli.main import main
from ch12cli.config.choices import comments, find_choice, is_alias, keys_of_choice
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.targets import Target, build
from ch12cli.config.user_modules import plugins
from ch12cli.errors import InputError, Problem
from ch12cli.models.activation import Activation

SHORT = ("-q", "epochs=1", "batch_size=32", "device=cpu")


@pytest.fixture(autouse=True)
def same_config_store() -> Iterator[None]:
    """Takes back what a test stores in Hydra's ConfigStore, which one process has once."""
    store = ConfigStore.instance()
    before = deepcopy(store.repo)
    yield
    store.repo = before


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; the modules that a test imports from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def trained(*words: str) -> Path:
    """Trains a run into `run` as a user would, and returns its directory."""
    assert main(["train", *SHORT, *words, "hydra.run.dir=run"]) == 0
    return Path("run")


def config_of(run: Path) -> Any:
    return yaml.safe_load((run / ".hydra" / "config.yaml").read_text())


def settings_in_checkpoint(run: Path) -> Any:
    return json.loads(torch.load(run / "checkpoints" / "last.pt")["settings"])


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["train", *words]) == 2
    return capsys.readouterr().err


@pytest.fixture
def conf(here: Path) -> Path:
    """A folder of configuration with a group of the user's own."""
    write(here / "conf" / "augment" / "flip.yaml", "# Mirrors each row.\n_target_: mine.Flip\np: 0.5\n")
    write(here / "conf" / "augment" / "none.yaml", "p: 0.0\n")
    return here / "conf"


def test_a_key_of_the_users_own_is_kept_in_the_record(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("+project.name=iris study", "+note=x")
    assert config_of(run)["project"] == {"name": "iris study"}
    assert settings_in_checkpoint(run)["note"] == "x"
    capsys.readouterr()
    assert main(["show", "run"]) == 0
    assert "'project.name=\"iris study\"' note=x" in " ".join(capsys.readouterr().out.split())
    assert main(["eval", "run"]) == 0
    assert main(["resume", "run", "epochs=2"]) == 0
    assert config_of(run)["project"] == {"name": "iris study"}


def test_a_group_of_the_users_own_is_recorded_and_never_built_by_a_reader(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("--config-dir", str(conf), "+augment=flip")
    assert config_of(run)["augment"] == {"_target_": "mine.Flip", "p": 0.5}
    write(Path("mine.py"), "raise SystemExit('executed')\n")
    capsys.readouterr()
    assert main(["show", "run"]) == 0
    assert "augment=flip" in capsys.readouterr().out
    assert main(["eval", "run"]) == 0
    assert "mine" not in sys.modules


def test_an_interpolation_may_name_a_key_of_the_users_own(here: Path) -> None:
    run = trained("+project.lr=0.25", "optimizer.lr=${project.lr}")
    assert settings_in_checkpoint(run)["optimizer"]["lr"] == 0.25


def test_keys_and_groups_of_the_users_own_are_swept(conf: Path) -> None:
    words = ("--config-dir", str(conf), "-m", "+project.name=a,b", "+augment=flip,none", "hydra.sweep.dir=sweep")
    assert main(["train", *SHORT, *words]) == 0
    with open("sweep/sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = [("a", "flip"), ("a", "none"), ("b", "flip"), ("b", "none")]
    assert [(row["project.name"], row["augment"]) for row in rows] == pairs
    assert [row["status"] for row in rows] == ["finished"] * 4
    found = [(c["project"]["name"], c["augment"]["p"]) for c in (config_of(Path("sweep", str(n))) for n in range(4))]
    assert found == [("a", 0.5), ("a", 0.0), ("b", 0.5), ("b", 0.0)]


@pytest.mark.slow
def test_a_file_may_contain_a_key_of_the_users_own(here: Path) -> None:
    write(here / "conf" / "mine.yaml", "defaults:\n  - config\n  - _self_\nproject:\n  name: from a file\n")
    run = trained("--config-dir", "conf", "--config-name", "mine")
    assert config_of(run)["project"] == {"name": "from a file"}


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("+epochz=3", "epochs"),
        ("+epoch=3", "epochs"),
        ("+learning_rate=0.1", "optimizer.lr"),
        ("+lr=0.1", "optimizer.lr"),
        ("+optimzer.lr=0.1", "optimizer.lr"),
        ("epoch=3", "epochs"),
        ("+early_stoping.patience=3", "early_stopping.patience"),
    ],
)
def test_a_mistyped_key_of_ch12s_own_is_still_refused(
    word: str, meant: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, word)
    assert "no such key" in said
    assert f"`{meant}`" in said


def test_a_mistyped_key_in_a_file_is_still_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "conf" / "mine.yaml", "defaults:\n  - config\n  - _self_\nepoch: 3\n")
    assert "did you mean `epochs`" in refusal(capsys, "--config-dir", "conf", "--config-name", "mine")


def test_a_new_key_without_a_plus_is_refused_with_how_to_add_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "project.name=x")
    assert said == "ch12: project.name=x: no such key; add a key of your own with +project.name=x\n"


def build_node(node: dict[str, Any]) -> Any:
    return build("x", Target.from_node(node))


def test_positional_arguments_are_given_by_position() -> None:
    assert build_node({"_target_": "builtins.pow", "_args_": [2, 5]}) == 32
    assert build_node({"_target_": "fractions.Fraction", "_args_": [3], "denominator": 4}) == 0.75


def test_targets_in_arguments_are_built_unless_recursion_is_switched_off() -> None:
    inner = {"_target_": "fractions.Fraction", "numerator": 1, "denominator": 2}
    node = {"_target_": "builtins.dict", "half": inner, "listed": [inner]}
    assert build_node(node) == {"half": 0.5, "listed": [0.5]}
    assert build_node({**node, "_recursive_": False}) == {"half": inner, "listed": [inner]}


def test_a_partial_argument_is_a_function_that_is_not_called_yet() -> None:
    power = {"_target_": "builtins.pow", "_partial_": True, "_args_": [2]}
    assert build_node({"_target_": "builtins.dict", "power": power})["power"](3) == 8


def test_arguments_are_plain_unless_the_configuration_asks_for_containers() -> None:
    node = {"_target_": "builtins.dict", "sizes": [1, 2]}
    assert type(build_node(node)["sizes"]) is list
    assert type(build_node({**node, "_convert_": "none"})["sizes"]).__name__ == "ListConfig"


def test_an_argument_that_cannot_be_built_is_reported_as_a_mistake() -> None:
    node = {"_target_": "builtins.dict", "half": {"_target_": "fractions.Fraction", "numerator": "x"}}
    with pytest.raises(InputError, match=r"^builtins\.dict: an argument cannot be built: .*"):
        build_node(node)


def test_hydras_keys_work_in_a_users_own_yaml(here: Path) -> None:
    write(
        here / "mine.py",
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, inputs, outputs, hidden, last):\n"
        "        super().__init__(nn.Linear(inputs, 4), *hidden, last(4, outputs))\n",
    )
    write(
        here / "conf" / "model" / "mine.yaml",
        "_target_: mine.Net\n_convert_: all\nhidden:\n  - _target_: torch.nn.Tanh\n"
        "  - _target_: torch.nn.Dropout\n    _args_: [0.25]\nlast:\n  _target_: torch.nn.Linear\n  _partial_: true\n",
    )
    write(here / "conf" / "optimizer" / "mine.yaml", "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.1\n")
    run = trained("--config-dir", "conf", "model=mine", "optimizer=mine")
    assert sorted(torch.load(run / "model.pt")) == ["0.bias", "0.weight", "3.bias", "3.weight"]


def test_a_saved_run_with_a_partial_optimizer_needs_no_trust(here: Path) -> None:
    trained("+optimizer._partial_=true")
    assert main(["eval", "run"]) == 0


def test_a_wrong_value_of_hydras_keys_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "+model._recursive_=maybe", "+optimizer._convert_=some")
    assert "model._recursive_=maybe: must be true or false" in said
    assert "optimizer._convert_=some: must be one of none, partial, object, all" in said


EXTENSION = (
    "from hydra.core.config_store import ConfigStore\nfrom omegaconf import OmegaConf\n\n"
    "OmegaConf.register_new_resolver('half', lambda x: x / 2)\n"
    "node = {'_target_': 'torch.optim.SGD', 'lr': 0.125}\n"
    "ConfigStore.instance().store(group='optimizer', name='stored', node=node)\n"
)


def test_a_module_named_by_imports_registers_resolvers_and_stored_configurations(here: Path) -> None:
    write(here / "my_extension.py", EXTENSION)
    for _ in range(2):  # the second session does not import it again
        words = ("imports=[my_extension]", "optimizer=stored", "+project.lr=${half:0.5}", "optimizer.momentum=null")
        assert main(["train", *words[:3], "--cfg", "job", "--resolve"]) == 0
    run = trained("imports=[my_extension]", "optimizer=stored", "+project.lr=${half:0.5}")
    assert settings_in_checkpoint(run)["project"]["lr"] == 0.25
    assert settings_in_checkpoint(run)["optimizer"]["lr"] == 0.125


def test_a_primary_configuration_names_the_modules_to_import(here: Path) -> None:
    write(here / "my_resolver.py", EXTENSION.replace("half", "halved").replace("stored", "kept"))
    write(
        here / "conf" / "mine.yaml",
        "defaults:\n  - config\n  - _self_\nimports: [my_resolver]\nproject:\n  lr: ${halved:0.5}\n",
    )
    words = ("--config-dir", "conf", "--config-name", "mine")
    assert main(["train", *SHORT, *words, "-m", "seed=1,2", "hydra.sweep.dir=sweep"]) == 0
    assert settings_in_checkpoint(Path("sweep/1"))["project"]["lr"] == 0.25


def test_an_installed_package_names_modules_by_an_entry_point(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "site" / "my_plugin.py", EXTENSION.replace("half", "of_a_plugin").replace("stored", "plugged"))
    write(here / "site" / "mine-1.0.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    write(here / "site" / "mine-1.0.dist-info" / "entry_points.txt", "[ch12.plugins]\nmine = my_plugin\n")
    monkeypatch.syspath_prepend(str(here / "site"))
    plugins.cache_clear()  # what was installed when the process began
    try:
        run = trained("optimizer=plugged")
    finally:
        plugins.cache_clear()
    assert settings_in_checkpoint(run)["optimizer"]["lr"] == 0.125


def test_a_saved_runs_imports_are_never_imported(here: Path) -> None:
    write(here / "my_marker.py", "print('imported')\n")
    run = trained("imports=[my_marker]")
    assert settings_in_checkpoint(run)["imports"] == ["my_marker"]
    del sys.modules["my_marker"]
    for words in (["show", "run"], ["eval", "run"], ["resume", "run", "epochs=2"]):
        assert main(words) == 0
        assert "my_marker" not in sys.modules


def test_a_module_that_cannot_be_imported_is_reported_as_a_mistake(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "my_mistake.py", "\n1 / 0\n")
    said = refusal(capsys, "imports=[my_mistake,not_there]")
    assert (
        "imports=my_mistake: importing it failed: ZeroDivisionError: division by zero (my_mistake.py, line 2)" in said
    )
    assert "imports=not_there: there is no such module" in said


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--config-path", "conf"], "--config-path: ch12's own configuration cannot be replaced; add a folder"),
        (["--info", "config"], "--info: ch12 has `ch12 train --cfg all`"),
        (["--hydra-help"], "--hydra-help: ch12 has `ch12 train --help`"),
        (["hydra.output_subdir=null"], "hydra.output_subdir=null: must be .hydra"),
        (["hydra.output_subdir=conf"], "hydra.output_subdir=conf: must be .hydra"),
        (["-m", "seed=1,2", "hydra.job.chdir=true"], "hydra.job.chdir=true: the jobs of a stack share one process"),
    ],
)
def test_an_unsupported_option_of_hydra_is_refused_in_one_line(
    words: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, *words)
    assert says in said
    assert len(said.splitlines()) == 1
    assert os.listdir() == []


def test_hydra_full_error_shows_where_an_error_was_raised(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Traceback" not in refusal(capsys, "epochs=0")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    said = refusal(capsys, "epochs=0")
    assert said.startswith("Traceback")
    assert said.endswith("ch12: epochs=0: must be a whole number from 1 (conf/config.yaml)\n")


def test_a_run_may_change_to_its_directory(here: Path) -> None:
    run = trained("hydra.job.chdir=true")
    assert {"metrics.csv", "model.pt", "result.json", "train.log", ".hydra", "checkpoints"} <= set(os.listdir(run))
    assert os.listdir(here) == ["run"]
    assert Path.cwd() == here


def test_a_configuration_file_may_ask_for_a_sweep(here: Path) -> None:
    write(
        here / "conf" / "mine.yaml",
        "defaults:\n  - config\n  - _self_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 1,2,3\n",
    )
    words = ("--config-dir", "conf", "--config-name", "mine", "hydra.sweep.dir=sweep")
    assert main(["train", *SHORT, *words]) == 0
    with open("sweep/sweep.csv", newline="") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["1", "2", "3"]


NETWORK = (
    "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, inputs, outputs, activation):\n"
    "        super().__init__()\n        self.first, self.last = nn.Linear(inputs, 5), nn.Linear(5, outputs)\n"
    "        self.act = {}\n\n    def forward(self, x):\n        return self.last(self.act(self.first(x)))\n"
)


def test_a_network_of_the_users_own_uses_its_activation_called_or_as_it_is(here: Path) -> None:
    final = []
    for number, use in enumerate(("activation()", "activation")):
        write(here / f"net{number}.py", NETWORK.format(use))
        words = (f"+project.number={number}", f"hydra.run.dir=run{number}")
        write(here / "conf" / "model" / f"net{number}.yaml", f"_target_: net{number}.Net\n")
        assert main(["train", *SHORT, "--config-dir", "conf", f"model=net{number}", "activation=tanh", *words]) == 0
        final.append(torch.load(f"run{number}/model.pt"))
    assert all(torch.equal(final[0][name], final[1][name]) for name in final[0])


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "use", ["activation(5)", "activation(inplace=True)", "getattr(nn, activation)", "activation.upper()"]
)
def test_an_activation_used_wrongly_is_refused_with_both_correct_uses(
    use: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "wrong.py", NETWORK.format(use))
    write(here / "conf" / "model" / "wrong.yaml", "_target_: wrong.Net\n")
    assert main(["train", *SHORT, "--config-dir", "conf", "model=wrong"]) == 2
    message = capsys.readouterr().err
    assert "model: wrong.Net refused: " in message
    assert message.count("activation(x)") == message.count("activation()") == 1


def test_an_activation_makes_a_new_module_at_each_call() -> None:
    activation = Activation(torch.nn.PReLU)
    first, second = activation(), activation()
    assert isinstance(first, torch.nn.PReLU)
    assert first is not second
    x = torch.linspace(-2, 2, 5)
    assert torch.equal(activation(x), torch.nn.functional.prelu(x, torch.tensor([0.25])))
    assert [tuple(p.shape) for p in activation.parameters()] == [(1,)]


def test_an_activation_draws_nothing_from_the_random_stream() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Activation(lambda: torch.nn.Linear(2, 2))
    assert torch.equal(torch.rand(3), expected)


def test_a_choice_has_the_keys_of_the_choice_that_its_defaults_name(conf: Path) -> None:
    file = conf / "optimizer" / "slow.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("defaults: [adam, _self_]\nlr: 0.00001 # slow\n", encoding="utf-8")
    slow, adam = find_choice("optimizer", "slow", [conf]), find_choice("optimizer", "adam")
    assert slow
    assert adam
    assert not is_alias(slow)
    assert keys_of_choice(slow) == {**keys_of_choice(adam), "optimizer.lr": 1e-5}
    assert comments(slow) == {**comments(adam), "lr": "slow"}
    table, csv = find_choice("dataset", "table"), find_choice("dataset", "csv")
    assert table
    assert csv
    assert is_alias(csv)
    assert keys_of_choice(csv) == keys_of_choice(table)


@pytest.mark.parametrize(
    "head", ["# @package _global_", "#@package _global_", "\ufeff# @package   _global_ ", "\ufeff\n# @package _global_"]
)
def test_an_experiments_package_line_may_have_blanks_and_a_byte_order_mark(conf: Path, head: str) -> None:
    file = write(conf / "experiment" / "mine.yaml", f"{head}\nepochs: 7\nname: ümläut\n")
    problems: list[Problem] = []
    with hydra_session():
        composed = Composer([conf]).compose(["experiment=mine"], problems)
    assert (problems, composed.settings["epochs"], composed.settings["name"]) == ([], 7, "ümläut")
    choice = find_choice("experiment", "mine", [conf])
    assert choice
    assert (choice.file, keys_of_choice(choice)) == (file, {"epochs": 7, "name": "ümläut"})


def test_a_choice_that_hydra_reads_as_a_number_is_chosen_in_quotes(conf: Path) -> None:
    write(conf / "dataset" / "nan.yaml", "# Flowers.\n_target_: ch12cli.data.iris\n")
    run = trained("--config-dir", "conf", 'dataset="nan"')
    assert config_of(run)["dataset"]["_target_"] == "ch12cli.data.iris"
