"""The help pages: complete, as wide as the terminal, copied from what is there, and printed without torch."""

import os
import re
import select
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.types import Override

from ch12cli.cli.help.overview import EXAMPLES, TRAIN_EXAMPLES, format_overview, format_train_help
from ch12cli.cli.main import main
from ch12cli.cli.verbs import VERBS, train
from ch12cli.config.check import check
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.schema import KEYS
from ch12cli.errors import Problem

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("dataset", "model", "activation", "loss", "optimizer", "scheduler", "experiment")
FILES = [(group, file) for group in GROUPS for file in sorted((CONF / group).rglob("*.yaml"))]

NADAM = """\
# Adam with Nesterov's momentum.
_target_: torch.optim.NAdam
lr: 0.002
momentum_decay: 0.004  # how fast the momentum fades
"""


@pytest.fixture(autouse=True)
def _terminal_of_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def dotted(node: dict, prefix: str = "") -> list[str]:
    """Dotted keys of a mapping's leaves."""
    return [
        path
        for name, value in node.items()
        for path in (dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"])
    ]


def own_keys(file: Path, prefix: str = "") -> list[str]:
    """The keys that a configuration file sets, but for what it builds."""
    node = yaml.safe_load(file.read_text(encoding="utf-8"))
    return dotted(
        {name: value for name, value in node.items() if name not in ("defaults", "hydra", "_target_")}, prefix
    )


def values_of(override: Override) -> list[str]:
    """The words that an override of a sweep stands for, one a value; any other as it is."""
    if not override.is_sweep_override():
        return [override.input_line]
    return [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]


def modules_after(*words: str) -> set[str]:
    """The modules that a fresh process has imported once it has answered."""
    code = "import sys; from ch12cli.cli.main import main; main(sys.argv[1:]); print('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split())


def test_the_overview_names_the_commands_and_where_to_go_next():
    assert format_overview({"train": "train a network", "explain": "what a key means"}) == (
        """\
ch12 trains small neural networks, one or thousands at once, and records each
run.

usage: ch12 COMMAND [WORD]...

Commands
  train    train a network
  explain  what a key means

Examples
  ch12 train
      trains a classifier of iris flowers
  ch12 train dataset=two_class model.width=8 optimizer.lr=0.01
      other data, another network
  ch12 train experiment=book/iris
      the book's network, with the same results
  ch12 train -m optimizer.lr=0.001,0.01,0.1 'seed=range(10)'
      thirty networks at once
  ch12 explain optimizer.lr
      the meaning, the allowed values and the value of a key

More
  ch12 train --help  every option, choice and key"""
    )


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_ch12_without_arguments_or_with_help_prints_the_overview(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(words) == 0
    assert capsys.readouterr() == (format_overview(VERBS) + "\n", "")


def test_the_overview_shows_only_existing_commands():
    page = format_overview({"train": "train a network"})
    assert "explain" not in page
    assert "completion" not in page
    assert {verb for verb, _, _ in EXAMPLES} <= set(VERBS)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_train_is_printed_whatever_else_is_on_the_line(option: str, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "epochs=0", option]) == 0
    assert capsys.readouterr() == (format_train_help([]) + "\n", "")


def test_the_help_of_train_begins_with_its_contents():
    page = format_train_help([])
    contents = page.partition("Contents\n")[2].partition("\n\n")[0]
    headings = re.findall(r"^(\w+)(?=:| *$)", page.partition(contents)[2], re.MULTILINE)
    assert len(headings) > 9
    assert [name for name in headings if name not in contents] == []


def test_a_long_page_goes_through_the_pager_on_a_terminal():
    code = "from ch12cli.cli.help.page import show_page; show_page('\\n'.join(f'line {n}' for n in range(50)))"
    master, terminal = os.openpty()
    environment = {
        **os.environ,
        "PAGER": "grep -c line",
        "TERM": "xterm",
        "PYTHONPATH": str(CONF.parent),
        "LINES": "24",
    }
    for pager, output in (("grep -c line", "50"), ("no-such-pager-here", "line 49"), ("cat", "line 49")):
        environment["PAGER"] = pager
        subprocess.run([sys.executable, "-c", code], stdin=terminal, stdout=terminal, env=environment, check=True)
        seen = ""
        while not seen.endswith(f"{output}\r\n") and select.select([master], [], [], 10)[0]:  # it comes in pieces
            seen += os.read(master, 4096).decode()
        assert seen.split("\r\n")[-2] == output
    os.close(master)
    os.close(terminal)


def test_the_help_of_train_lists_every_option_with_its_meaning():
    page = format_train_help([])
    options = [action for action in train.parser()._actions if action.option_strings]
    assert len(options) >= 9
    for action in options:
        found = re.search(rf"^  {re.escape(', '.join(action.option_strings))}\b(.*)\n(.*)", page, re.MULTILINE)
        assert found, action.option_strings
        assert re.search(r"\S {2,}\S|^ {3,}\S", found[1] + "\n" + found[2]), f"{action.option_strings}: no meaning"


def test_the_help_of_train_lists_every_choice_of_every_group_with_its_first_comment():
    page = " ".join(format_train_help([]).split())
    assert len(FILES) >= 40
    for group, file in FILES:
        name = file.relative_to(CONF / group).with_suffix("").as_posix()
        comments = [line[1:].strip() for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        meaning = next(comment for comment in comments if not comment.startswith("@"))
        assert f" {name} {meaning.removesuffix('.')}" in page


def test_the_help_of_train_lists_every_key_with_its_rule():
    page = " ".join(format_train_help([]).split())
    keys = own_keys(CONF / "config.yaml")
    keys += [path for group, file in FILES if group != "experiment" for path in own_keys(file, f"{group}.")]
    assert len(set(keys)) >= 60
    for path in keys:
        assert re.search(
            rf" '?{re.escape(path)}(=\S+)? {re.escape(KEYS[path].meaning)} \({re.escape(str(KEYS[path].rule))}", page
        )


def test_defaults_that_differ_between_choices_are_listed_by_choice():
    page = " ".join(format_train_help([]).split())
    assert "optimizer.lr=0.001 learning rate" in page
    assert "default 0.01 with adagrad, rmsprop, sgd)" in page
    assert "optimizer.nesterov=false Nesterov's momentum: look ahead before the step (true or false; sgd only)" in page
    assert "early_stopping.metric metric that must improve" in page
    assert "that of monitor unless set)" in page


def test_the_default_choice_of_each_group_is_marked():
    marked = re.findall(r"^  \* (\S+)", format_train_help([]), flags=re.MULTILINE)
    assert marked == ["iris", "mlp", "relu", "auto", "adam", "none"]


def test_choices_and_keys_of_the_users_own_are_in_the_help(tmp_path: Path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "nadam.yaml").write_text(NADAM, encoding="utf-8")
    page = format_train_help([tmp_path])
    assert re.search(r"^    nadam +Adam with Nesterov's momentum$", page, flags=re.MULTILINE)
    assert re.search(
        r"^  optimizer.momentum_decay=0.004  how fast the momentum fades \(nadam only\)$", page, re.MULTILINE
    )
    assert "nadam.yaml" not in format_train_help([]).replace("my_conf/optimizer/nadam.yaml", "")


def test_a_folder_of_the_users_own_may_hold_files_that_are_not_configurations(tmp_path: Path):
    folder = tmp_path / "optimizer"
    (folder / "folder.yaml").mkdir(parents=True)
    (folder / "binary.yaml").write_bytes(bytes(range(128, 256)))
    (folder / "broken.yaml").write_text("lr: [1,\n", encoding="utf-8")
    (folder / "empty.yaml").write_text("", encoding="utf-8")
    (folder / "list.yaml").write_text("- 1\n", encoding="utf-8")
    (folder / "date.yaml").write_text("# odd\nlr: 2020-99-99\n", encoding="utf-8")
    listed = set(re.findall(r"^  [ *] (\S+)", format_train_help([tmp_path]), flags=re.MULTILINE))
    assert {"binary", "broken", "empty", "list", "date", "adam"} <= listed
    assert "folder" not in listed


def test_a_missing_folder_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--help", "--config-dir", "nowhere"]) == 2
    assert capsys.readouterr() == (
        "",
        "ch12: --config-dir nowhere: no such folder; give one that holds groups such as optimizer/\n",
    )


@pytest.mark.parametrize(
    ("columns", "width"), [("20", 60), ("60", 60), ("80", 80), ("97", 97), ("300", 120), ("x", 80)]
)
def test_pages_are_as_wide_as_the_terminal_within_reason(columns: str, width: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", columns)
    lines = f"{format_overview(VERBS)}\n{format_train_help([])}".splitlines()
    wide = [line for line in lines if len(line) > width]
    # only what must be copied whole is longer than a line
    assert [line for line in wide if not line.startswith("  ch12 ")] == []
    assert max(map(len, lines)) > width - 8
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "completion"])
def test_no_line_of_a_page_is_wider_than_the_terminal_and_every_percent_sign_is_single(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 80
    assert "%%" not in page


def test_pages_are_plain_ascii_when_piped():
    assert format_overview(VERBS).isascii()
    page = format_train_help([])
    assert page.isascii()
    assert not re.search(r"[^\n -~]", page)


def test_a_comment_that_the_stream_cannot_encode_is_escaped(tmp_path: Path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("# größer\n_target_: my.Loss\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ch12cli", "train", "--help", "--config-dir", str(tmp_path)],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        check=True,
    )
    assert rb"gr\xf6\xdfer" in done.stdout
    assert done.stderr == b""


@pytest.mark.sample(2)
@pytest.mark.parametrize("line", [line for _, line, _ in EXAMPLES] + [line for line, _ in TRAIN_EXAMPLES])
def test_each_example_can_be_typed_as_it_stands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "my_conf" / "optimizer" / "nadam.yaml").write_text(NADAM, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    program, verb, *words = shlex.split(line)
    assert (program, verb in VERBS) == ("ch12", True)
    if verb != "train":
        assert main([verb, *words]) == 0
        return
    options = train.parser().read(words)
    problems: list[Problem] = []
    with hydra_session():
        composer = Composer(options.config_dir)
        values = [values_of(override) for override in composer.parse(options.operands, problems)]
        for job in product(*values):
            composition = composer.compose(job, problems)
            problems += check(composition.settings, composition.choices)
    assert options.multirun == any(len(several) > 1 for several in values)
    assert problems == []


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["train", "--help"], ["explain", "--help"], ["completion", "--help"]]
)
def test_help_needs_neither_torch_nor_hydra(words: list[str]):
    modules = modules_after(*words)
    assert "ch12cli.cli.help.overview" in modules
    assert not modules & {"torch", "hydra", "omegaconf", "rich", "numpy"}
