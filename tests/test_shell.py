"""What is printed to be typed: bash, zsh and fish read the words that are meant, and Hydra the values."""

import ast
import random
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ch12cli.cli.help.overview import EXAMPLES, TRAIN_EXAMPLES
from ch12cli.cli.help.verb_pages import PAGES
from ch12cli.cli.main import main
from ch12cli.cli.verbs import VERBS
from ch12cli.shell import assignment, names_option, shell_line, shell_word

ROOT = Path(__file__).parents[1]
PRINTED = {"bash": "ch12() { X; }", "zsh": "ch12() { X; }", "fish": "function ch12; X; end"}
SHOW = r"printf '%s\036' WORDS; printf '\035'"
OPTIONS = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}
shells = pytest.mark.parametrize(
    "shell",
    [
        pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
        for name in PRINTED
    ],
)

NASTY = [
    "", " ", "a b", "Height (cm)", "[a,b]", "{z}", "it's", "it's\\", "\\", "a\\'b", "\\'", "''", 'say "hi"', "$price",
    "${x}", "`date`", "!!", "#n", "~", "~/x", "=ls", "%self", "%white", "*", "?", "a=*", "a;b", "a&b", "a|b", "<x>",
    "^a", "x=~y", "ü", "\t", "a\nb", "-x", "$(ls)", "a\\nb", "seed=range(3)", "+x=1", "a,b", "a:b", "@1", "(", "\\\\x",
    "x%y", "0", "x==y",
]  # fmt: skip


def words_read(shell: str, lines: list[str], folder: Path) -> list[list[str]]:
    """The words that a shell makes of each line `ch12 …`, up to the first line that it does not take."""
    show = SHOW.replace("WORDS", "$argv" if shell == "fish" else '"$@"')
    script = "\n".join([PRINTED[shell].replace("X", show), *lines, ""])
    file = folder / "script"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [shell, *OPTIONS[shell], str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, check=False
    )
    return [line.split("\x1e")[:-1] for line in done.stdout.decode().split("\x1d")[:-1]]


@shells
def test_a_shell_reads_the_words_that_were_quoted(shell: str, tmp_path: Path) -> None:
    source = random.Random(1)
    drawn = ["".join(source.choices("ab '\"\\$`!#~=%*?[]{}()|&;<>^,:\n", k=source.randint(1, 8))) for _ in range(300)]
    words = NASTY + drawn
    lines = [shell_line(["ch12", word, "end"]) for word in words]
    assert words_read(shell, lines, tmp_path) == [[word, "end"] for word in words]
    assert [shlex.split(line)[1:] for line in lines] == [[word, "end"] for word in words]


def documented_lines() -> list[str]:
    """The command lines and overrides in the documents, the help pages, the messages of keys, and the YAML files."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = [file.read_text(encoding="utf-8") for file in documents]
    verbs = "|".join(VERBS)
    lines = [line for text in texts for line in re.findall(rf"^ *(ch12 (?:{verbs})(?: .+)?)$", text, re.MULTILINE)]
    spans = [span for text in texts for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)]
    lines += [span for span in spans if span.startswith("ch12 ")]
    lines += [f"ch12 {span}" for span in spans if re.match(r"['+~]?[a-z_]+[./\w]*=\S*$", span)]
    lines += [line for _, line, _ in EXAMPLES] + [line for line, _ in TRAIN_EXAMPLES]
    lines += [line for page in PAGES.values() for line, _ in page.examples]
    for file in (ROOT / "conf").rglob("*.yaml"):
        lines += re.findall(r"^# +(ch12 .+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    usage = re.compile(r"[|<>]|\$\(|\.\.\.|…")  # pipes, and placeholders
    return list(dict.fromkeys(line for line in lines if line.startswith("ch12 ") and not usage.search(line)))


@shells
def test_a_shell_takes_every_documented_line(shell: str, tmp_path: Path) -> None:
    lines = documented_lines()
    assert len(lines) > 150
    found = words_read(shell, lines, tmp_path)
    wrong = [line for line, words in zip(lines, found, strict=False) if words != shlex.split(line)[1:]]
    assert not wrong
    assert len(found) == len(lines), f"not taken: {lines[len(found)]}"


@pytest.mark.parametrize("name", NASTY)
def test_an_option_of_names_holds_the_names(name: str) -> None:
    (word,) = shlex.split(names_option("dataset.exclude", [name, "b"]))
    if "\n" in name:
        return
    override: Any = OverridesParser.create().parse_override(word)
    resolved = OmegaConf.to_container(OmegaConf.create({"names": override.value()}), resolve=True)
    assert resolved == {"names": [name, "b"]}


BARE = re.compile(r"(?:^|(?<!['\w.])[a-z_.]+)=(?:\[|\{|range\()")  # an override outside quotes that zsh would expand
CODE = ("book/", "export_script.py", "plots/", "parallel.py")  # texts of programs and images, and words of processes


def test_no_message_has_an_override_that_a_shell_would_change() -> None:
    found, files = [], sorted((ROOT / "ch12cli").rglob("*.py"))
    for file in files:
        if any(part in str(file) for part in CODE):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        skipped = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("shell_word", "shell_line")
            for inner in ast.walk(node)
        }
        skipped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        found += [
            f"{file.name}:{node.lineno}: {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and id(node) not in skipped and BARE.search(str(node.value))
        ]
    assert len(files) > 100
    assert not found, "\n".join(found)


def follow(argv: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """Runs a command, and adds the first option that its messages advise, as often as they advise one."""
    for _ in range(6):
        code = main(argv)
        advised = re.search(r"(?:with|add) ('[^\n]*?'|\S+=\S+)(?: |$|;)", capsys.readouterr().err, re.MULTILINE)
        if code == 0 or advised is None:
            break
        argv = [*argv, *shlex.split(advised[1])]
    return code


def test_following_the_advice_about_a_table_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    header = '"full name","note [1]","${x}","Height (cm)",y'
    rows = [f"p{row},n{row},x{row},{'n/k' if row % 9 == 3 else row % 7},{'ab'[row % 2]}" for row in range(60)]
    Path("t.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    assert follow(["train", "dataset=csv", "dataset.file=t.csv", "epochs=1", "hydra.run.dir=r", "-q"], capsys) == 0
    assert "full name" in Path("r/.hydra/overrides.yaml").read_text(encoding="utf-8")


def test_the_option_of_an_ordinary_value_has_no_quotes() -> None:
    assert assignment("optimizer.lr", 0.1) == "optimizer.lr=0.1"
    assert assignment("seed", None) == "seed=null"
    assert shell_word("+project.name=pilot") == "+project.name=pilot"
    assert assignment("dataset.exclude", ["a b"]) == "'dataset.exclude=[\"a b\"]'"
