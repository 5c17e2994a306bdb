"""Tab completion: what is offered where, and a real bash that completes with it."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ch12cli.cli.help.candidates import answer_for
from ch12cli.cli.main import main
from ch12cli.cli.verbs import VERBS
from ch12cli.cli.verbs.completion import INSTALL, SCRIPTS, format_completion_help, query, split_line

ROOT = Path(__file__).parents[2]
BREAKS = " \t\n\"'><=;|&(:"  # bash's own COMP_WORDBREAKS
GROUPS = ["dataset", "model", "activation", "loss", "optimizer", "scheduler", "experiment"]


def offered(*words: str) -> list[str]:
    """The candidates for the last of the words behind `ch12`."""
    answer = answer_for(words[:-1], words[-1])
    assert answer.kind == "words"
    return [candidate for candidate, _ in answer.candidates]


def keys_in(file: str, prefix: str) -> list[str]:
    """Keys of a configuration file, but for what it builds, as they are typed."""
    node = yaml.safe_load((ROOT / "conf" / file).read_text(encoding="utf-8"))
    return [f"{prefix}{name}=" for name in node if name != "_target_"]


def choices_in(group: str) -> list[str]:
    names = sorted(file.relative_to(ROOT / "conf" / group) for file in (ROOT / "conf" / group).rglob("*.yaml"))
    assert names
    return [name.with_suffix("").as_posix() for name in names]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with an optimiser of the user's own below mine/."""
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    nadam = "# Adam with Nesterov's momentum: fast\n_target_: torch.optim.NAdam\nmomentum_decay: 0.004\n"
    (tmp_path / "mine" / "optimizer" / "nadam.yaml").write_text(nadam, encoding="utf-8")
    (tmp_path / "mine" / "optimizer" / "two words.yaml").write_text(nadam, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_are_offered_first():
    assert offered("") == list(VERBS)
    assert offered("tr") == ["train"]
    assert offered("-") == ["--help", "--version"]
    assert offered("nonsense", "") == []


def test_the_options_of_a_command_are_offered():
    assert {"--multirun", "--cfg", "--config-dir", "--quiet", "--help"} <= set(offered("train", "--"))
    assert offered("train", "--config") == ["--config-dir", "--config-name"]
    assert set(offered("explain", "--")) == {"--help", "--config-dir", "--config-name"}


def test_the_values_of_an_option_are_offered_after_it():
    assert offered("train", "--cfg", "") == ["job", "hydra", "all"]
    assert offered("train", "-c", "j") == ["job"]
    assert offered("train", "--cfg=h") == ["--cfg=hydra"]
    assert offered("train", "--config-name", "") == []


@pytest.mark.parametrize(
    "words",
    [
        ["--config-dir", ""],
        ["-cd", "x"],
        ["--config-dir=x"],
        ["hydra.run.dir="],
        ["hydra.sweep.dir=out"],
        ["dataset.folder="],
    ],
)
def test_folders_are_left_to_the_shell(words: list[str]):
    assert answer_for(["train", *words[:-1]], words[-1]) == ("folders", [])


def test_files_are_left_to_the_shell():
    assert answer_for(["train", "dataset=csv"], "dataset.file=my") == ("files", [])
    assert answer_for(["train", "--jobs"], "") == ("files", [])


def test_sections_and_items_are_offered_to_book_and_the_subject_to_bench():
    assert offered("book", "") == ["12.1", "12.2", "12.3", "12.4", *map(str, range(1, 29))]
    assert offered("book", "12.4", "2") == ["2", *map(str, range(20, 29))]
    assert offered("bench", "") == ["loader", "parallel"]
    assert offered("bench", "loader", "batch") == ["batch_size="]
    assert offered("resume", "outputs/x", "epo") == ["epochs="]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["plot", "--metric", "valid_l"], "valid_loss"),
        (["plot", "--metric=test_acc"], "--metric=test_accuracy"),
        (["runs", "--sort", "obj"], "objective"),
        (["runs", "--sort", "optimizer.mo"], "optimizer.momentum"),
        (["plot", "--x", "model.w"], "model.width"),
        (["rm", "--status", "k"], "killed"),
        (["book", "--device", "cu"], "cuda"),
    ],
)
def test_the_words_that_an_option_may_take_are_offered(words: list[str], word: str):
    assert offered(*words) == [word]


def test_groups_and_keys_at_the_top_are_offered_before_a_letter_is_typed():
    names = offered("train", "")
    assert names[:7] == [f"{group}=" for group in GROUPS]
    assert {"epochs=", "batch_size=", "device=", "seed="} <= set(names)
    assert not [name for name in names if "." in name or not name.endswith("=")]


def test_a_group_and_the_keys_of_its_default_choice_are_offered():
    assert offered("train", "opt") == ["optimizer=", *keys_in("optimizer/adam.yaml", "optimizer.")]
    assert offered("train", "model.") == keys_in("model/mlp.yaml", "model.")


def test_the_keys_offered_are_those_of_the_choices_on_the_line():
    assert offered("train", "optimizer=sgd", "optimizer.") == keys_in("optimizer/sgd.yaml", "optimizer.")
    assert offered("train", "optimizer=sgd", "optimizer.mo") == ["optimizer.momentum="]
    assert offered("train", "optimizer.mo") == []
    both = keys_in("optimizer/adam.yaml", "optimizer.") + keys_in("optimizer/sgd.yaml", "optimizer.")
    assert offered("train", "-m", "optimizer=adam,sgd", "optimizer.") == list(dict.fromkeys(both))


def test_a_preset_on_the_line_sets_choices_that_the_line_can_override():
    sgd = keys_in("optimizer/sgd.yaml", "optimizer.")
    assert offered("train", "experiment=book/linear", "optimizer.") == sgd
    assert offered("train", "experiment=book/iris", "optimizer=sgd", "optimizer.") == sgd


def test_for_an_unknown_choice_the_keys_of_all_choices_are_offered():
    names = offered("train", "optimizer=sgdd", "optimizer.")
    assert {"optimizer.momentum=", "optimizer.betas=", "optimizer.alpha="} <= set(names)


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_a_group_is_offered_after_the_groups_name(group: str):
    assert offered("train", f"{group}=") == [f"{group}={name}" for name in choices_in(group)]


def test_the_allowed_words_of_a_key_are_offered():
    assert offered("train", "dataset.scaling=") == [
        f"dataset.scaling={word}" for word in ("standard", "global", "none")
    ]
    assert offered("train", "compile=t") == ["compile=true"]
    assert offered("train", "device=") == [f"device={word}" for word in ("auto", "cpu", "cuda", "mps")]
    assert offered("train", "early_stopping.patience=") == ["early_stopping.patience=null"]
    assert offered("train", "optimizer.lr=") == []
    assert offered("train", "nonsense=") == []


def test_a_list_is_completed_with_the_items_that_it_lacks():
    assert offered("train", "-m", "optimizer=adam,s") == ["optimizer=adam,sgd"]
    assert offered("train", "-m", "dataset.scaling=global,") == [
        "dataset.scaling=global,standard",
        "dataset.scaling=global,none",
    ]
    assert offered("train", "-m", "experiment=book/xor_mlp,book/xor") == ["experiment=book/xor_mlp,book/xor_logistic"]


def test_signs_before_a_key_are_kept():
    assert offered("train", "+optimizer.l") == ["+optimizer.lr="]
    assert offered("train", "++epo") == ["++epochs="]
    assert offered("train", "~optimizer.l") == ["~optimizer.lr"]
    assert offered("train", "+experiment=book/iris", "optimizer.l") == ["optimizer.lr="]


def test_the_last_part_of_a_key_is_enough_if_it_is_unique():
    assert offered("train", "lr") == ["optimizer.lr="]
    assert offered("train", "wi") == ["model.width="]
    assert offered("train", "scal") == ["dataset.scaling="]
    assert offered("train", "si") == []


def test_names_to_explain_are_offered_without_an_equals_sign():
    assert offered("explain", "opt")[:2] == ["optimizer", "optimizer.lr"]
    assert {"optimizer.betas", "optimizer.momentum", "optimizer.alpha"} <= set(offered("explain", "optimizer."))
    assert offered("explain", "optimizer=s") == ["optimizer=sgd"]
    assert offered("explain", "optimizer.lr", "experiment=debug/") == [
        "experiment=debug/fast",
        "experiment=debug/overfit",
    ]


def test_the_shells_are_offered():
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("completion", "bash", "") == []


@pytest.mark.parametrize("option", [["--config-dir", "mine"], ["--config-dir=mine"], ["-cd", "mine"]])
def test_choices_and_keys_of_the_users_own_are_offered(option: list[str], mine: Path):
    assert offered("train", *option, "optimizer=n") == ["optimizer=nadam"]
    assert offered("train", *option, "optimizer=nadam", "optimizer.") == ["optimizer.momentum_decay="]
    # a name that would have to be quoted is not offered
    assert "optimizer=two words" not in offered("train", *option, "optimizer=")


def test_bash_gets_the_text_after_the_last_word_break_and_a_blank_after_a_complete_word():
    assert query(["bash", "--", "ch12 tr", BREAKS]) == ["words", "train "]
    assert query(["bash", "--", "ch12 train optimizer=s", BREAKS]) == ["words", "sgd "]
    assert query(["bash", "--", "ch12 train optimizer=s", " "]) == ["words", "optimizer=sgd "]
    assert query(["bash", "--", "ch12 train epo", BREAKS]) == ["words", "epochs="]
    assert query(["bash", "--", "ch12 train --cfg=j", BREAKS]) == ["words", "job "]
    assert query(["bash", "--", "ch12 train 'optimizer=s", BREAKS]) == ["words", "optimizer=sgd"]
    assert query(["bash", "--", "ch12 train --config-dir ", BREAKS]) == ["folders"]


def test_zsh_and_fish_get_the_meaning_of_each_candidate():
    meaning = "reduce_on_plateau\tThe learning rate drops whenever the watched metric has stopped improving"
    assert query(["fish", "--", "ch12", "train", "scheduler=red"]) == ["words", f"scheduler={meaning}"]
    assert query(["zsh", "--", "ch12", "train", "epo"]) == ["words", "epochs=\tpasses over the training part"]


@pytest.mark.parametrize(
    ("line", "words", "current", "is_quoted"),
    [
        ("", [], "", False),
        ("ch12 train ", ["ch12", "train"], "", False),
        ("ch12  train\tep", ["ch12", "train"], "ep", False),
        ("ch12 'a b' \"c d", ["ch12", "a b"], "c d", True),
        (r"ch12 a\ b c\"d", ["ch12", "a b"], 'c"d', False),
        (r"ch12 'a\'", ["ch12"], "a\\", False),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str], current: str, is_quoted: bool):
    assert split_line(line) == (words, current, is_quoted)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["bash"],
        ["bash", "--"],
        ["zsh", "--"],
        ["fish", "--", "ch12"],
        ["tcsh", "--", "ch12", "t"],
        ["bash", "--", "'"],
    ]
    + [
        ["bash", "--", f"ch12 {rest}", BREAKS]
        for rest in ("train =", "train ,", "train ~", "train -cd", "explain =", "x")
    ],
)
def test_completion_never_answers_a_script_with_an_error(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "query", *words]) == 0
    page, errors = capsys.readouterr()
    assert page.splitlines()[0] in ("words", "folders")
    assert errors == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_printed_and_asks_for_its_own_shell(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script == SCRIPTS[shell].strip() + "\n"
    assert f"completion query {shell} -- " in script
    assert (
        script.splitlines()[-1]
        == {
            "bash": "complete -o nospace -o nosort -F _ch12 ch12",
            "zsh": "compdef _ch12 ch12",
            "fish": "complete -c ch12 -f -k -a '(__ch12_complete)'",
        }[shell]
    )
    # one documented command a shell
    assert f"ch12 completion {shell}" in INSTALL[shell]
    assert INSTALL[shell] in format_completion_help()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_new_shell_outside_the_environment_reads_the_script_without_an_error(shell: str, tmp_path: Path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    assert INSTALL[shell].startswith(f"ch12 completion {shell} >> ")  # the script itself, not a call of ch12
    (tmp_path / "rc").write_text(SCRIPTS[shell] + "echo done\n", encoding="utf-8")
    assert shutil.which("ch12", path="/usr/bin:/bin") is None
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([program, tmp_path / "rc"], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_zsh_and_fish_keep_the_order_of_the_candidates():
    assert SCRIPTS["zsh"].count("compadd -V words ") == 2
    assert "complete -c ch12 -f -k " in SCRIPTS["fish"]


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "fihs"]) == 2
    assert capsys.readouterr() == ("", "ch12: fihs: no completion for such a shell; did you mean `fish`?\n")
    assert main(["completion", "tcsh-and-more"]) == 2
    assert capsys.readouterr().err.endswith("; there are bash, zsh, fish\n")
    assert main(["completion"]) == 2
    assert capsys.readouterr().err == "ch12: name one shell, bash, zsh, fish; see `ch12 completion --help`\n"


def test_completing_imports_neither_torch_nor_hydra():
    code = "import sys; from ch12cli.cli.main import main; main(sys.argv[1:]); print('\\n', *sys.modules)"
    words = ["completion", "query", "fish", "--", "ch12", "train", "optimizer.l"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("words\noptimizer.lr=\t")
    assert done.stderr == ""
    assert not set(done.stdout.splitlines()[-1].split()) & {"torch", "hydra", "omegaconf", "rich", "numpy"}


class Bash:
    """An interactive bash with ch12's completion. Its line editor shows the line at Ctrl-G, where it ends."""

    def __init__(self, folder: Path) -> None:
        program = folder / "bin" / "ch12"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ch12cli "$@"\n')
        program.chmod(0o755)
        self.master, terminal = pty.openpty()
        bash = shutil.which("bash")
        assert bash is not None
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [bash, "--norc", "--noprofile", "-i"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env={"PATH": path, "TERM": "xterm", "HOME": str(folder), "LC_ALL": "C.UTF-8", "INPUTRC": os.devnull},
            start_new_session=True,
        )
        os.close(terminal)
        self.text = ""
        self.type('eval "$(ch12 completion bash)"; bind "set bell-style none"; echo rea""dy\n')
        self.read(r"ready\r?\n")
        self.type("""bind -x '"\\C-g": printf "<<%s>>\\n" "$READLINE_LINE"'; echo bo""und\n""")
        self.read(r"bound\r?\n")

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read(self, pattern: str) -> re.Match[str]:
        """What comes until the pattern does; it fails after 20 s without a sign of it."""
        last = time.monotonic() + 20
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < last, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 4096).decode()
        self.text = self.text[found.end() :]
        return found

    def complete(self, line: str) -> str:
        """The line as it is after Tab."""
        self.type(f"{line}\t\x07")
        completed = self.read(r"<<([^>]*)>>\r?\n")[1]
        self.type("\x15")  # Ctrl-U: an empty line again
        return completed

    def close(self) -> None:
        os.close(self.master)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def bash(mine: Path) -> Iterator[Bash]:
    (mine / "mine" / "two words").mkdir()
    started = Bash(mine)
    yield started
    started.close()


@pytest.mark.slow
def test_a_real_bash_completes(bash: Bash):
    for line, completed in {
        "ch12 tr": "ch12 train ",
        "ch12 train opt": "ch12 train optimizer",
        "ch12 train epo": "ch12 train epochs=",
        "ch12 train optimizer=sg": "ch12 train optimizer=sgd ",
        "ch12 train optimizer=ada": "ch12 train optimizer=ada",
        "ch12 train optimizer=sgd optimizer.mo": "ch12 train optimizer=sgd optimizer.momentum=",
        "ch12 train -m optimizer=adam,s": "ch12 train -m optimizer=adam,sgd ",
        "ch12 train ~optimizer.l": "ch12 train ~optimizer.lr ",
        "ch12 train 'optimizer=sg": "ch12 train 'optimizer=sgd'",
        "ch12 train experiment=book/ir": "ch12 train experiment=book/iris ",
        "ch12 train --config-dir mine/op": "ch12 train --config-dir mine/optimizer/",
        "ch12 train --config-dir=mine/tw": "ch12 train --config-dir=mine/two\\ words/",
        "ch12 train --config-dir mine optimizer=na": "ch12 train --config-dir mine optimizer=nadam ",
        "cd / && ch12 train epo": "cd / && ch12 train epochs=",
        "ch12 explain optimizer=s": "ch12 explain optimizer=sgd ",
        "ch12 train nonsense": "ch12 train nonsense",
        "./bin/ch12 train dete": "./bin/ch12 train deterministic=",
    }.items():
        assert bash.complete(line) == completed


def test_runs_and_sweeps_are_offered_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/first", "b/second", "b/has blank"):
        (tmp_path / "outputs" / name / "checkpoints").mkdir(parents=True)
    assert sorted(offered("show", "")) == ["a/first", "b/second"]
    assert offered("plot", "b/") == ["b/second"]
    assert offered("export", "outputs/a") == ["outputs/a/first"]
    assert offered("eval", "@") == ["@1", "@2", "@best"]
    assert answer_for(["resume"], "elsewhere") == ("folders", [])
