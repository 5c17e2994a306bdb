"""`ch12 book`: every figure that the chapter prints, computed afresh, to the digit."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.text import Text

from ch12cli.book.demos import DEMOS
from ch12cli.book.printed import ITEMS, SECTIONS
from ch12cli.book.run import TOKEN, Ran, agrees, item_source, run_item
from ch12cli.book.slopes import gradients
from ch12cli.cli.main import main
from ch12cli.cli.text.screen import Screen
from ch12cli.cli.verbs.book import show_item


def test_the_chapter_has_four_sections_and_28_items_in_order() -> None:
    assert list(ITEMS) == list(range(1, 29))
    sections = [item.section for item in ITEMS.values()]
    assert sections == sorted(sections)
    assert [sections.count(section) for section in SECTIONS] == [17, 4, 3, 4]


@pytest.mark.parametrize("number", ITEMS)
def test_an_item_prints_what_the_book_prints(number: int) -> None:
    ran = run_item(number)
    assert ran.error == ""
    assert ran.same, ran.output


@pytest.mark.parametrize("number", ITEMS)
def test_an_items_code_contains_no_printed_number(number: int) -> None:
    _, code = item_source(number)
    figures = {token for token in TOKEN.findall(ITEMS[number].text) if re.search(r"\.\d{3,}", token)}
    assert not {figure for figure in figures if figure.lstrip("-") in code}


@pytest.mark.parametrize("number", [n for n, item in ITEMS.items() if item.kind == "digits"])
def test_every_printed_digit_is_compared(number: int) -> None:
    printed = ITEMS[number]
    digits = [found.start() for found in re.finditer(r"\d", printed.text)]
    for place in digits:
        changed = printed.text[:place] + str((int(printed.text[place]) + 1) % 10) + printed.text[place + 1 :]
        assert agrees(printed.text, printed)
        assert not agrees(changed, printed)


def test_an_unseeded_item_is_compared_by_shape_and_range() -> None:
    good = "tensor([[0.1, 0.2, 0.3],\n        [0.4, 0.5, 0.9999]])"
    assert agrees(good, ITEMS[4])
    assert agrees(good.replace("0.9999", "1.0000"), ITEMS[4])  # as 0.99996 is printed
    assert not agrees(good.replace("0.9999", "1.0001"), ITEMS[4])
    assert not agrees(good.replace("0.1, ", ""), ITEMS[4])


def test_a_check_fails_if_a_digit_differs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["book", "12.4", "--check"]
    assert main(words) == 0
    assert "4 of 4 as in the book" in capsys.readouterr().out
    monkeypatch.setitem(ITEMS, 25, ITEMS[25]._replace(text="P(y=1|x) = 0.889"))
    assert main(words) == 3
    said = capsys.readouterr().out
    assert "3 of 4 as in the book" in said
    assert "25. the logistic function" in next(line for line in said.splitlines() if "differs" in line)


def test_differences_in_another_dtype_are_shown_and_do_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book", "9", "28", "--check", "--dtype", "float64"]) == 0
    assert "1 of 2 as in the book" in capsys.readouterr().out
    assert torch.get_default_dtype() == torch.float32


def test_an_item_is_shown_with_its_code_and_both_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book", "10"]) == 0
    said = capsys.readouterr().out
    assert "print(torch.mean(t1, axis=0))" in said
    assert said.count("tensor([-0.1373,  0.2028])") == 2
    assert "as in the book, to the last digit" in said


@pytest.mark.slow
def test_a_section_is_shown_with_its_demonstrations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book", "12.4"]) == 0
    said = capsys.readouterr().out
    for words in ("28. tanh, logistic, ReLU", "Vanishing gradients, measured", "sigmoid: slope at most 0.25"):
        assert words in said


@pytest.mark.slow
def test_gradients_vanish_through_sigmoid_layers_as_they_do_one_network_at_a_time() -> None:
    demo = gradients()
    grid = demo.plots[1].panels[0]
    ratio = dict(zip(grid.rows.names, grid.values[:, 1].tolist(), strict=True))  # type: ignore[union-attr]
    torch.manual_seed(1)
    x, y = torch.randn(64, 16), torch.randint(0, 2, (64, 1)).float()
    firsts, lasts = [], []
    from ch12cli.models import mlp

    for _ in range(40):
        model = mlp(16, 1, activation=torch.nn.Sigmoid, width=32, depth=5)
        torch.nn.functional.binary_cross_entropy_with_logits(model(x), y).backward()
        weights = [layer.weight.grad.norm() for layer in model if isinstance(layer, torch.nn.Linear)]
        firsts.append(weights[0].log())
        lasts.append(weights[-1].log())
    alone = float((torch.stack(firsts).mean() - torch.stack(lasts).mean()).exp())
    assert ratio["sigmoid"] == pytest.approx(alone, rel=1e-4)
    assert ratio["sigmoid"] < 1e-2 < ratio["tanh"]


def test_handouts_hold_the_code_and_both_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("md", "html", "ipynb"):
        target = tmp_path / f"a.{form}"
        assert main(["book", "27", "17", "--format", form, "-o", str(target)]) == 0
        text = target.read_text(encoding="utf-8")
        assert "torch.stack([a, b], axis=1)" in text
        assert text.count("0.44668973 0.16107406 0.39223621") >= 4
    assert main(["book", "17", "--format", "md"]) == 0
    assert "### 17. stack" in capsys.readouterr().out


@pytest.mark.slow
def test_a_notebook_is_of_format_4_5_and_its_cells_run_from_top_to_bottom(tmp_path: Path) -> None:
    target = tmp_path / "a.ipynb"
    assert main(["book", "12.1", "12.2", "25", "--format", "ipynb", "-o", str(target)]) == 0
    notebook = json.loads(target.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 17 + 4 + 1 + 2
    script = "\n".join(cell["source"] for cell in cells)
    (tmp_path / "a.py").write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, "a.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    seeded = [cell for cell in cells if cell["id"].startswith("item") and cell["id"] != "item-4"]
    for cell in seeded:
        assert cell["outputs"][0]["text"] in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["13.4"], "13.4: no section (12.1, 12.2, 12.3, 12.4) and no item (1 to 28)"),
        (["29"], "29: no section"),
        (["--device", "tpu"], "--device tpu"),
        (["-o", "a.md"], "-o a.md: needs --format md, ipynb or html"),
        (["9", "--format", "md", "-o", "none/a.md"], "-o none/a.md: there is no such directory"),
        (["--dtype", "float16"], "--dtype float16: must be one of float32, float64"),
    ],
)
def test_an_item_that_cannot_run_is_refused_in_one_line(words: list[str], message: str, capsys: Any) -> None:
    assert main(["book", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("section", DEMOS)
def test_every_demonstration_is_found_and_drawn(section: str) -> None:
    from ch12cli.plots.text_drawer import draw_text

    for make in DEMOS[section]:
        demo = make()
        assert demo.lines
        assert all(draw_text(plot, width=80, height=24) for plot in demo.plots)
        assert ("<svg" in demo._repr_html_()) == bool(demo.plots)


@pytest.mark.slow
def test_code_is_printed_whole_in_a_narrow_terminal_and_text_wraps_at_words() -> None:
    about_it, code = item_source(24)
    ran = Ran(24, ITEMS[24], about_it, code, ITEMS[24].text, same=True)
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, color_system="standard", legacy_windows=False)
    show_item(Screen(console=console), ran)
    printed = Text.from_ansi(file.getvalue()).plain.split("\n")
    printed = [line.rstrip() for line in printed]
    for line in ran.code.rstrip().splitlines():
        assert line in printed
    assert max(map(len, ran.code.splitlines())) > 60
    start = printed.index("24. Iris, saved and loaded") + 1
    about = printed[start : printed.index("", start)]
    assert " ".join(about) == ran.about
    assert max(map(len, about)) <= 60


@pytest.mark.slow
def test_the_whole_list_is_as_in_the_book(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book"]) == 0
    assert "28 of 28 as in the book" in capsys.readouterr().out
