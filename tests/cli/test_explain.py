"""What `ch12 explain` says of keys, groups and choices, and of the file or word that sets a value."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ch12cli.cli.help.overview import format_verb_help
from ch12cli.cli.main import main
from ch12cli.cli.verbs.explain import format_explanation, parser
from ch12cli.config.compose import Composer
from ch12cli.config.explain import Traced
from ch12cli.config.hydra_internals import cached, hydra_session
from ch12cli.config.schema import LAUNCHER_KEYS, launcher_problems
from ch12cli.errors import InputError
from ch12cli.run.start import checked

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("dataset", "model", "activation", "loss", "optimizer", "scheduler", "experiment")
CHOICES = [
    (group, file.relative_to(CONF / group).with_suffix("").as_posix(), file)
    for group in GROUPS
    for file in sorted((CONF / group).rglob("*.yaml"))[-1:]  # composing each of them would take long
]


@pytest.fixture(autouse=True)
def _terminal_of_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a configuration of the user's own in mine/."""
    folder = tmp_path / "mine"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "experiment").mkdir()
    (folder / "optimizer" / "nadam.yaml").write_text(
        "_target_: torch.optim.NAdam\nlr: 0.002\nmomentum_decay: 0.004  # how fast it fades\n"
    )
    (folder / "experiment" / "long.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: nadam\n\nepochs: 900\noptimizer:\n  lr: 0.0001\n"
    )
    (folder / "top.yaml").write_text(
        "defaults:\n  - config\n  - _self_\n\nepochs: 7\nnote: mine  # to tell runs apart\n"
    )
    monkeypatch.chdir(tmp_path)
    return folder


def values_in(file: Path, prefix: str) -> list[tuple[str, object]]:
    """Dotted keys and values of a configuration file, at most two levels deep, as Hydra would embed them."""
    node = yaml.safe_load(file.read_text(encoding="utf-8"))
    inner = {f"{name}.{key}": value for name, of in node.items() if isinstance(of, dict) for key, value in of.items()}
    outer = {name: value for name, value in node.items() if not isinstance(value, dict) and name != "defaults"}
    return [(f"{prefix}{name}", value) for name, value in (inner | outer).items()]


def is_word(value: object) -> bool:
    return value is None or isinstance(value, bool)


@pytest.fixture(scope="module")
def explained() -> Iterator[Callable[..., str]]:
    """The page about a name, in the run of the words behind it: all from one composer that reads each file once."""
    with hydra_session():
        composer = Composer()
        composer.repository = cached(composer.repository)
        yield lambda name, *words: format_explanation(name, Traced(composer, words))


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `ch12 explain` prints of these words, where it has nothing against them."""
    assert main(["explain", *words]) == 0
    page, errors = capsys.readouterr()
    assert errors == ""
    return page


def facts(page: str) -> dict[str, list[str]]:
    """The lines behind each label of a page."""
    found: dict[str, list[str]] = {}
    label = ""
    for line in page.splitlines():
        start, _, rest = line.strip().partition("  ")
        if line.startswith("  ") and line[2:3] != " " and rest:
            label = start
            found[label] = [rest.strip()]
        elif line.startswith("      ") and label:
            found[label].append(line.strip())
        else:
            label = ""
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `ch12 explain` says against these words."""
    assert main(["explain", *words]) == 2
    page, errors = capsys.readouterr()
    assert page == ""
    assert errors.startswith("ch12: ")
    assert "Traceback" not in errors
    return errors


def test_a_key_is_explained_with_its_rule_its_default_and_the_file_that_sets_it(explained):
    assert explained("optimizer.weight_decay") + "\n" == (
        """\
optimizer.weight_decay
  pull of the weights towards zero

  may be   a number at least 0
  default  0.0 with adam, adagrad, rmsprop, sgd; 0.01 with adamw
  value    0.0
  set by   conf/optimizer/adam.yaml (optimizer=adam)
"""
    )


def test_every_source_that_sets_a_key_is_named_last_first(explained):
    page = explained("optimizer.lr", "experiment=debug/overfit", "optimizer.lr=0.1", "optimizer.lr=0.2")
    assert facts(page) | {"may be": []} == {
        "may be": [],
        "default": ["0.001 with adam, adamw; 0.01 with adagrad, rmsprop, sgd"],
        "value": ["0.2"],
        "set by": ["optimizer.lr=0.2 on the command line"],
        "instead of": [
            "0.1, by optimizer.lr=0.1 on the command line",
            "0.01, by conf/experiment/debug/overfit.yaml",
            "(experiment=debug/overfit)",
            "0.001, by conf/optimizer/adam.yaml (optimizer=adam)",
        ],
    }


def test_a_key_with_a_value_is_explained_with_that_value(capsys):
    assert printed(capsys, "epochs=3") == printed(capsys, "epochs", "epochs=3")
    assert facts(printed(capsys, "epochs=3"))["set by"] == ["epochs=3 on the command line"]


def test_each_key_of_a_choice_is_set_by_its_file():
    traced_keys = 0
    with hydra_session():
        composer = Composer()
        for group, choice, file in CHOICES:
            traced = Traced(composer, [f"{group}={choice}"])
            for path, value in values_in(file, "" if group == "experiment" else f"{group}."):
                typed = {None: "null", True: "true", False: "false"}[value] if is_word(value) else str(value)  # type: ignore[index]
                typed = typed.replace("'", "") if isinstance(value, list) else typed
                last = traced.settings(path)[-1]
                assert last == (typed.replace(" ", ""), f"conf/{group}/{choice}.yaml ({group}={choice})")
                traced_keys += 1
    assert traced_keys >= 25


def test_an_interpolated_value_names_the_key_it_comes_from(explained):
    found = facts(explained("early_stopping.metric", "monitor=train_loss"))
    assert found["default"] == ["that of monitor"]
    assert found["value"] == ["train_loss, that of monitor"]
    assert found["set by"] == ["conf/config.yaml"]


def test_a_value_that_is_not_allowed_is_explained_as_refused(capsys):
    found = facts(printed(capsys, "batch_size=0"))
    assert found["value"] == ["0"]
    assert found["refused"][0].startswith("must be a whole number from 1")


def test_a_key_of_other_choices_is_explained_with_those_choices_and_a_command(explained):
    assert explained("optimizer.momentum") + "\n" == (
        """\
optimizer.momentum
  share of the last step's direction that is kept

  may be   a number at least 0
  default  0.0 with rmsprop, sgd
  value    none: optimizer=adam, which has no such key, is chosen, by
           conf/config.yaml
  try      ch12 train optimizer=rmsprop optimizer.momentum=0.0
"""
    )


@pytest.mark.parametrize(
    "name",
    [
        *("dataset.missing", "dataset.file", "dataset.class_names", "dataset.train", "dataset.valid"),
        *("model.channels", "loss.delta", "loss.pos_weight"),
        *(f"dataset={name}" for name in ("csv", "idx", "image_folder", "table", "torch")),
        *(f"loss={name}" for name in ("bce", "bce_logits", "huber", "l1", "mse", "nll")),
        *("model=cnn", "optimizer=sgd"),
    ],
)
def test_the_command_of_an_example_is_complete(name: str, explained):
    found = facts(explained(name))
    words = shlex.split(" ".join(found.get("try") or found["to train"]))
    assert words[:2] == ["ch12", "train"]
    assert any(word.startswith(name) for word in words)
    checked(Composer(), words[2:])


def test_the_example_of_a_choice_of_ones_own_names_its_folder(mine: Path, capsys):
    words = shlex.split(" ".join(facts(printed(capsys, "--config-dir", "mine", "optimizer=nadam"))["to train"]))
    assert words == ["ch12", "train", "--config-dir", str(mine), "optimizer=nadam"]


def test_an_added_or_deleted_key_is_traced_to_its_override(explained):
    found = facts(explained("optimizer.amsgrad", "~optimizer.amsgrad"))
    assert (found["value"], found["set by"]) == (["nothing"], ["~optimizer.amsgrad on the command line"])
    found = facts(explained("optimizer.fused", "+optimizer.fused=true"))
    assert (found["value"], found["set by"]) == (["true"], ["+optimizer.fused=true on the command line"])


def test_an_override_that_sets_several_keys_is_named(explained):
    found = facts(explained("early_stopping.patience", "early_stopping={patience:5}"))
    assert (found["value"], found["set by"]) == (["5"], ["early_stopping={patience:5} on the command line"])
    assert "set by" in facts(explained("early_stopping.metric", "early_stopping={patience:5}"))


def test_a_group_lists_its_choices_and_marks_the_one_chosen(explained):
    assert explained("model", "experiment=book/linear") + "\n" == (
        """\
model: the network
    cnn     A convolutional network for images: convolutions, each followed by a
            pooling that halves the image
  * linear  One linear layer: linear regression, logistic regression, softmax
            regression
    mlp     A multilayer perceptron: hidden layers of one width, an activation
            after each

  chosen    linear, by conf/experiment/book/linear.yaml (experiment=book/linear)
  its keys  model.output, model.init
  more      ch12 explain model=CHOICE
"""
    )


def test_a_group_names_the_override_or_file_that_made_the_choice(explained):
    assert facts(explained("loss"))["chosen"] == ["auto, by conf/config.yaml"]
    assert facts(explained("loss", "loss=mse"))["chosen"] == ["mse, by loss=mse on the command line"]
    assert facts(explained("experiment"))["chosen"] == ["none, by conf/config.yaml"]
    both = explained("optimizer", "experiment=book/iris", "optimizer=sgd")
    assert facts(both)["chosen"] == ["sgd, by optimizer=sgd on the command line"]


@pytest.mark.parametrize("word", ["optimizer=rmsprop", "optimizer/rmsprop", "rmsprop"])
def test_a_choice_is_explained_by_any_of_its_names(word: str, explained):
    page = explained(word)
    assert page.startswith("optimizer=rmsprop\n  RMSprop: the gradient divided by its running root mean square")
    found = facts(page)
    assert found["builds"] == ["torch.optim.RMSprop"]
    assert "".join(found["file"]) == str(CONF / "optimizer" / "rmsprop.yaml")
    assert found["chosen"] == ["no: adam is, by conf/config.yaml"]
    assert "\n  optimizer.alpha=0.99 " in page


def test_a_preset_shows_what_it_chooses_and_sets(explained):
    page = explained("experiment=book/xor_mlp")
    found = facts(page)
    assert " ".join(found["chooses"]) == ("dataset=two_class model=mlp activation=relu loss=bce optimizer=sgd")
    assert "builds" not in found
    for line in ("epochs=200", "model.width=4", "model.depth=2", "optimizer.lr=0.015"):
        assert f"\n  {line} " in page


def test_a_common_prefix_of_keys_lists_them_with_their_values(explained):
    page = explained("early_stopping", "early_stopping.patience=9")
    assert page.splitlines()[0] == "early_stopping"
    for line in ("early_stopping.metric=auto", "early_stopping.patience=9", "early_stopping.min_delta=0.0"):
        assert f"\n  {line} " in page


def test_the_last_part_of_a_name_is_enough(explained):
    assert explained("lr") == explained("optimizer.lr")
    assert explained("nesterov") == explained("optimizer.nesterov")
    assert explained("seed").startswith("seed\n")


def test_an_ambiguous_short_name_is_refused_with_all_candidates(capsys):
    assert refused(capsys, "patience") == (
        "ch12: patience: there are several; which of early_stopping.patience, scheduler.patience?\n"
    )


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("optimizer.rl", "optimizer.lr"),
        ("epoch", "epochs"),
        ("optimiser", "optimizer"),
        ("dataset.scalling", "dataset.scaling"),
        ("early_stoping.patience", "early_stopping.patience"),
        ("optimizer=sdg", "sgd"),
        ("experiment=book/irs", "book/iris"),
    ],
)
def test_a_mistyped_name_is_refused_with_the_nearest_right_one(word: str, meant: str, explained):
    with pytest.raises(InputError, match=f"{re.escape(word)}: .*; did you mean `{re.escape(meant)}`"):
        explained(word)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "word", ["zzzzz", "=", "=3", ".", "", "+", "~", "a=b=c", "optimizer=", "hydra/launcher", "lr,lr"]
)
def test_an_unknown_name_is_refused(word: str, explained):
    with pytest.raises(InputError, match="no such "):
        explained(word)


def test_a_missing_operand_and_wrong_options_are_refused(capsys):
    assert "name a key, a group or a choice" in refused(capsys)
    assert "did you mean `--config-dir`?" in refused(capsys, "lr", "--config-dri", "x")
    assert "no such folder" in refused(capsys, "lr", "--config-dir", "nowhere")
    assert "nowhere" in refused(capsys, "lr", "--config-name", "nowhere")


def test_all_mistakes_on_the_line_are_reported_together(capsys):
    errors = refused(capsys, "lr", "optimzer=sgd", "sede=2", "epochs=1,2")
    assert len(errors.splitlines()) == 3 - ("optimzer" not in errors) - ("sede" not in errors)
    assert "epochs=1,2: several values" in errors


@pytest.mark.slow
def test_the_users_own_files_are_named_by_their_paths(mine: Path, capsys):
    found = facts(printed(capsys, "--config-dir", "mine", "optimizer.lr", "experiment=long"))
    assert found["value"] == ["0.0001"]
    assert found["set by"] == ["mine/experiment/long.yaml (experiment=long)"]
    assert found["instead of"] == ["0.002, by mine/optimizer/nadam.yaml (optimizer=nadam)"]
    assert found["default"][0].startswith("0.002 with nadam;")
    chosen = facts(printed(capsys, "--config-dir", "mine", "optimizer", "experiment=long"))["chosen"]
    assert chosen == ["nadam, by mine/experiment/long.yaml (experiment=long)"]


def test_a_key_of_the_users_own_is_explained_by_its_comment(mine: Path, capsys):
    page = printed(capsys, "--config-dir", "mine", "momentum_decay", "optimizer=nadam")
    assert page == (
        """\
optimizer.momentum_decay
  how fast it fades

  may be   whatever torch.optim.NAdam takes
  default  0.004 with nadam
  value    0.004
  set by   mine/optimizer/nadam.yaml (optimizer=nadam)
"""
    )


@pytest.mark.slow
def test_another_top_file_overrides_the_values_of_ch12(mine: Path, capsys):
    found = facts(printed(capsys, "--config-dir", "mine", "--config-name", "top", "epochs"))
    assert (found["value"], found["set by"]) == (["7"], ["mine/top.yaml"])
    assert found["instead of"] == ["100, by conf/config.yaml"]
    assert facts(printed(capsys, "-cd", "mine", "-cn", "top", "note"))["set by"] == ["mine/top.yaml"]


def test_folders_of_the_search_path_are_searched(mine: Path, capsys):
    found = facts(printed(capsys, "optimizer.lr", f"hydra.searchpath=[{mine}]", "optimizer=nadam"))
    assert found["set by"] == ["mine/optimizer/nadam.yaml (optimizer=nadam)"]


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "content",
    [
        b"lr: [1,\n",
        b"- 1\n",
        bytes(range(128, 256)),
        b"defaults:\n  - {a: 1, b: 2}\n",
        b"lr: ${nowhere}\n",
    ],
)
def test_a_file_that_is_not_a_configuration_is_reported_as_a_mistake(content: bytes, mine: Path, capsys):
    (mine / "optimizer" / "odd.yaml").write_bytes(content)
    for words in (["optimizer=odd"], ["optimizer.lr", "optimizer=odd"]):
        assert main(["explain", "--config-dir", "mine", *words]) in (0, 2)
        page, errors = capsys.readouterr()
        assert bool(page) != bool(errors)


def test_hydras_own_keys_are_traced_too(explained):
    assert "the directory of a run" in explained("hydra.run.dir")
    found = facts(explained("hydra.run.dir", "hydra.run.dir=here"))
    assert (found["value"], found["set by"]) == (["here"], ["hydra.run.dir=here on the command line"])
    assert any("conf/config.yaml" in line for line in found["instead of"])


def test_the_help_of_explain_is_printed(capsys):
    page = format_verb_help("explain", parser())
    assert printed(capsys, "--help") == page + "\n"
    assert page.startswith("usage: ch12 explain ")


def test_explaining_imports_no_torch():
    code = "import sys; from ch12cli.cli.main import main; main(sys.argv[1:]); print('\\n', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "explain", "optimizer.lr"], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.splitlines()[-1].split())
    assert "hydra" in modules
    assert not modules & {"torch", "rich"}


@pytest.mark.slow
def test_a_changed_file_is_read_again(mine: Path, capsys):
    assert "\n  optimizer.lr=0.002 " in printed(capsys, "-cd", "mine", "optimizer=nadam")
    (mine / "optimizer" / "nadam.yaml").write_text("_target_: torch.optim.NAdam\nlr: 0.5\n")
    assert "\n  optimizer.lr=0.5 " in printed(capsys, "-cd", "mine", "optimizer=nadam")


def test_the_keys_of_launchers_are_described_by_the_table_that_checks_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "hydra.launcher.timeout_min", "hydra/launcher=slurm"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "time limit of each array job, in minutes" in page
    assert "may be a whole number from 1 used by ch12 train -m hydra/launcher=slurm value 60" in page
    assert main(["explain", "hydra.launcher.timeout_min"]) == 0
    assert "hydra/launcher=stacked, which has no such key, is chosen" in " ".join(capsys.readouterr().out.split())
    for launcher, keys in LAUNCHER_KEYS.items():
        file = CONF / f"hydra/launcher/{launcher}.yaml"
        values = yaml.safe_load(file.read_text())
        assert keys.keys() == {name for name in values if not name.startswith("_")}
        wrong = launcher_problems(launcher, {name: values[name] for name in keys if values[name] != "???"})
        assert wrong == []
