"""The display of a run, rendered to consoles of fixed width; live pictures are read from an emulated screen."""

import io
import math
import os
import re
import subprocess
import sys
import time
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ch12cli.cli.text.console import StreamConsole, printable_on
from ch12cli.cli.text.run_display import RunDisplay, format_progress, log_stride
from ch12cli.cli.text.screen import Screen
from ch12cli.files.result_json import Result

DIRECTORY = Path("/runs/2026-01-31/12-00-00-iris")
FACTS = [
    ("data", "iris: 90 train, 30 validation, 30 test; 4 features, 3 classes"),
    ("network", "mlp 4-16-3, relu, 131 parameters"),
    ("optimizer", "adam lr=0.001"),
    ("device", "cpu"),
]
SGR = re.compile(r"\x1b\[[0-9;]*m")


def make_console(width: int = 80, *, terminal: bool = False, encoding: str = "utf-8", **options: Any) -> Console:
    """A console on a strict stream of that encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True, newline="")
    options = {"color_system": "standard" if terminal else None, "height": 40, **options}
    return Console(file=stream, width=width, force_terminal=terminal, legacy_windows=False, _environ={}, **options)


def written(console: Console) -> str:
    assert isinstance(console.file, io.TextIOWrapper)
    return console.file.buffer.getvalue().decode(console.file.encoding)


def screen(output: str) -> list[str]:
    """What stands on a terminal after that output: an emulator of what is used, and of nothing else."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n", SGR.sub("", output), flags=re.DOTALL):
        if token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif token == "\r":
            column = 0
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token == "\x1b[1A":
            row -= 1
        elif token in ("\x1b[?25l", "\x1b[?25h"):
            pass
        else:
            assert token.isprintable(), repr(token)
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def make_rows(epochs: int, *, regression: bool = False) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, epochs + 1):
        row: dict[str, Any] = {"epoch": epoch}
        for part in ("train", "valid"):
            row |= {f"{part}_loss": 1 / epoch}
            row |= {f"{part}_mae": 2 / epoch, f"{part}_r2": 1 - 9 / epoch} if regression else {f"{part}_accuracy": 0.5}
        rows.append(row | {"lr": 0.001, "seconds": 0.01})
    return rows


def make_result(rows: list[dict[str, Any]], status: str = "finished", **more: Any) -> Result:
    final = rows[-1] if rows else {}
    test = {name.removeprefix("valid_"): value for name, value in final.items() if name.startswith("valid_")}
    return Result(status=status, epochs=len(rows), final=final, best=final, test=test, seconds=2.0, **more)


def show_run(
    console: Console, *, rows: list[dict[str, Any]], errors: Console | None = None, verbosity: int = 0, **end: Any
) -> str:
    """The whole output of a run of which every row is shown."""
    result = end.get("result", make_result(rows))
    with RunDisplay(verbosity=verbosity, console=console, errors=errors or make_console()) as display:
        display.on_begin(end.get("facts", FACTS), epochs=end.get("epochs", len(rows)), directory=DIRECTORY)
        for row in rows:
            display.on_epoch_end(row)
        display.on_end(result, rows, directory=end.get("directory", DIRECTORY))
    return written(console)


def test_a_piped_run_is_shown_in_plain_lines():
    rows = [
        {"epoch": 1, "train_loss": 1.0986, "train_accuracy": 0.3, "valid_loss": 1.1, "valid_accuracy": 1 / 3},
        {"epoch": 2, "train_loss": 0.75, "train_accuracy": 0.8, "valid_loss": 0.07, "valid_accuracy": 0.9},
        {"epoch": 3, "train_loss": 0.5, "train_accuracy": 0.98, "valid_loss": 0.6, "valid_accuracy": 0.96},
    ]
    test = {"loss": 0.0913, "accuracy": 0.98}
    result = Result(status="finished", epochs=3, final=rows[2], best=rows[1], test=test, seconds=1.5)
    output = show_run(make_console(80, encoding="ascii"), rows=rows, result=result).splitlines()
    assert output[:21] == [
        "data       iris: 90 train, 30 validation, 30 test; 4 features, 3 classes",
        "network    mlp 4-16-3, relu, 131 parameters",
        "optimizer  adam lr=0.001",
        "device     cpu",
        "",
        "epoch  train loss   accuracy  valid loss   accuracy",
        "    1       1.099     0.3000       1.100     0.3333",
        "    2      0.7500     0.8000     0.07000     0.9000",
        "    3      0.5000     0.9800      0.6000     0.9600",
        "",
        "finished  3 epochs in 1.5 s, 2.0 epochs/s",
        "",
        "                   epoch     loss  accuracy",
        "final  train           3   0.5000    0.9800",
        "       validation      3   0.6000    0.9600",
        "best   validation      2  0.07000    0.9000",
        "test                      0.09130    0.9800",
        "",
        " 1.10 +*o" + output[18][9:],
        "      |" + output[19][7:],
        "      |" + output[20][7:],
    ]
    assert output[-4:] == [
        "epoch  1                                   2                                   3",
        "  **** train loss  oooo valid loss",
        "",
        "/runs/2026-01-31/12-00-00-iris",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("status", ["finished", "diverged", "failed", "interrupted"])
def test_a_pipe_gets_no_control_characters_and_no_line_wider_than_the_console(
    width: int, encoding: str, regression: bool, status: str
):
    rows = make_rows(30, regression=regression)
    result = make_result(
        rows, status, error="the loss is nan in epoch 31, step 12, and was 1e+30 in the step before it"
    )
    output = show_run(make_console(width, encoding=encoding), rows=rows, result=result, epochs=100, verbosity=1)
    assert all(line.isprintable() and len(line) <= width for line in output.split("\n"))
    assert status in output


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_on_a_terminal_the_results_replace_the_live_display(width: int, encoding: str):
    console = make_console(width, terminal=True, encoding=encoding)
    output = show_run(console, rows=make_rows(30, regression=True))
    assert "epoch      1/30" in SGR.sub("", output)  # it was there
    lines = screen(output)
    assert not any("1/30" in line or "left" in line for line in lines)
    assert max(map(len, lines)) <= width
    end = lines.index("finished  30 epochs in 2.0 s, 15 epochs/s")
    assert lines[end - 1] == ""
    assert lines[end - 2].startswith("device")
    assert any(line.startswith("test") for line in lines[end:])
    assert lines[-2:] == [str(DIRECTORY), ""]


def test_a_wide_terminal_shows_the_accuracy_beside_the_loss():
    narrow, wide = (show_run(make_console(width), rows=make_rows(10)) for width in (80, 120))
    assert "train accuracy" not in narrow
    assert re.search(r"train loss .* valid loss .* train accuracy .* valid accuracy", wide)


def test_one_epoch_is_shown_as_a_table_without_a_curve():
    output = show_run(make_console(), rows=make_rows(1))
    assert "1 epoch in" in output
    assert "final  train" in output
    assert "┤" not in output


@pytest.mark.parametrize("epochs", [1, 2, 19, 20, 21, 40, 99, 100, 101, 150, 1000, 4999])
def test_a_pipe_gets_about_twenty_evenly_spaced_epochs_and_the_last(epochs: int):
    output = show_run(make_console(), rows=make_rows(epochs))
    shown = [int(match) for match in re.findall(r"^ *(\d+) +\d\S* +0\.5000 ", output, flags=re.MULTILINE)]
    assert shown[0] == 1
    assert shown[-1] == epochs
    assert len(shown) <= 22
    steps = {after - before for before, after in pairwise(shown[1:-1])}
    assert len(steps) <= 1


def test_the_number_of_epoch_lines_has_a_maximum():
    assert [log_stride(epochs) for epochs in (1, 20, 21, 41, 101, 400, 401)] == [1, 1, 2, 5, 10, 20, 50]


def test_verbose_pipes_get_every_epoch_and_the_directory_first():
    output = show_run(make_console(), rows=make_rows(137), verbosity=1)
    shown = [int(match) for match in re.findall(r"^ *(\d+) +\d\S* +0\.5000 ", output, flags=re.MULTILINE)]
    assert shown == list(range(1, 138))
    assert output.index(str(DIRECTORY)) < output.index("train loss")


def test_the_last_epoch_of_a_run_that_stopped_early_has_its_line():
    output = show_run(make_console(), rows=make_rows(63), epochs=100)
    assert re.search(r"^ +63 +0\.01587 ", output, flags=re.MULTILINE)
    assert "finished  63 of 100 epochs in 2.0 s" in output


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_shows_only_the_directory(terminal: bool):
    errors = make_console()
    output = show_run(make_console(terminal=terminal), rows=make_rows(30), errors=errors, verbosity=-1)
    assert SGR.sub("", output) == f"{DIRECTORY}\n"
    assert written(errors) == ""


def test_quiet_still_shows_warnings_and_how_a_run_failed_on_standard_error():
    console, errors = make_console(), make_console()
    with RunDisplay(verbosity=-1, console=console, errors=errors) as display:
        display.on_begin(FACTS, epochs=9, directory=DIRECTORY)
        display.on_message("early stopping in epoch 3")
        display.on_message("softmax twice", warning=True)
        display.on_end(make_result([], "diverged", error="the loss is nan"), [], directory=DIRECTORY)
    assert written(console) == f"{DIRECTORY}\n"
    assert written(errors) == "warning: softmax twice\ndiverged  after 0 of 9 epochs in 2.0 s: the loss is nan\n"


def test_a_run_that_failed_before_its_first_epoch_has_no_results():
    result = Result(status="failed", epochs=0, final={}, best={}, test=None, error="out of memory")
    output = show_run(make_console(), rows=[], result=result, epochs=5, facts=[("data", "iris")])
    assert output == f"data       iris\n\nfailed  after 0 of 5 epochs\n        out of memory\n\n{DIRECTORY}\n"


def test_missing_and_non_finite_values_are_shown_as_such():
    rows = make_rows(5)
    rows[4] |= {"train_loss": math.nan, "valid_loss": None, "valid_accuracy": None}
    output = show_run(make_console(), rows=rows, result=make_result(rows, "diverged"))
    assert re.search(r"^final  train +5 +nan +0\.5000$", output, flags=re.MULTILINE)
    assert re.search(r"^       validation +5 +- +-$", output, flags=re.MULTILINE)


@pytest.mark.parametrize("terminal", [False, True])
def test_paths_and_texts_are_shown_as_they_are(terminal: bool):
    directory = Path("/runs/[bold]x[/bold]/:smile:/" + "long-name-with-hyphens-" * 12 + "/[/]")
    facts = [("data", "[red]file[/red] :warning: [link=x]")]
    output = show_run(make_console(60, terminal=terminal), rows=make_rows(2), facts=facts, directory=directory)
    assert SGR.sub("", output).splitlines()[-1] == str(directory)
    assert "[red]file[/red] :warning: [link=x]" in SGR.sub("", output)


def test_control_characters_in_names_cannot_reach_the_terminal():
    facts = [("data", "a\x1b[31mb\x07")]
    output = show_run(make_console(), rows=make_rows(1), facts=facts, directory=Path("/runs/a\nb\x1b[2J"))
    assert r"a\x1b[31mb\x07" in output
    assert output.endswith("/runs/a\\nb\\x1b[2J\n")


def test_names_that_an_ascii_stream_cannot_hold_are_escaped():
    output = show_run(make_console(encoding="ascii"), rows=make_rows(1), directory=Path("/data/jürgen/läufe"))
    assert output.endswith("/data/j\\xfcrgen/l\\xe4ufe\n")
    assert printable_on(make_console(), "/data/jürgen/\udcff") == "/data/jürgen/\\udcff"


def test_messages_are_printed_above_the_live_display():
    console = make_console(60, terminal=True)
    with RunDisplay(console=console, errors=make_console(60, terminal=True)) as display:
        display.on_begin(FACTS[1:], epochs=9, directory=DIRECTORY)
        display.on_epoch_end({"epoch": 1, "train_loss": 0.5})
        display.on_message("a [remark]")
        display.on_message("a warning of many words that are too long for one line of this console", warning=True)
        lines = screen(written(console))
    assert lines[-6:] == [
        "",
        "a [remark]",
        "warning: a warning of many words that are too long for one",
        "line of this console",
        "epoch      1/9  " + "━" + "─" * 15,
        "train      loss 0.5000",
    ]


def test_warnings_go_to_standard_error_if_it_is_redirected():
    console, errors = make_console(terminal=True), make_console()
    with RunDisplay(console=console, errors=errors) as display:
        display.on_begin(FACTS, epochs=9, directory=DIRECTORY)
        display.on_message("x " * 99, warning=True)
    assert written(errors).splitlines() == ["warning: " + "x " * 99]  # one line each, whatever its length
    assert "warning" not in written(console)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_the_terminal_is_restored_after_every_ending(error: type[BaseException]):
    console = make_console(terminal=True)
    streams = sys.stdout, sys.stderr
    with pytest.raises(error), RunDisplay(console=console, errors=make_console()) as display:  # noqa: PT012
        display.on_begin(FACTS, epochs=9, directory=DIRECTORY)
        display.on_epoch_end(make_rows(1)[0])
        assert written(console).count("\x1b[?25l") == 1  # the cursor is hidden
        raise error
    assert written(console).rindex("\x1b[?25h") > written(console).rindex("\x1b[?25l")
    assert (sys.stdout, sys.stderr) == streams
    assert "1/9" not in "\n".join(screen(written(console)))
    display.close()  # again does no harm


def test_colours_can_be_switched_off():
    coloured, plain = (make_console(terminal=True, no_color=no_color) for no_color in (False, True))
    colours = [
        [
            code
            for codes in re.findall(r"\x1b\[([0-9;]*)m", show_run(console, rows=make_rows(5)))
            for code in codes.split(";")
        ]
        for console in (coloured, plain)
    ]
    assert {"32", "35", "36"} <= set(colours[0])
    assert set(colours[1]) <= {"0", "1", "2"}  # bold and dim are no colours


@pytest.mark.slow
def test_the_display_of_an_epoch_takes_little_time():
    console = make_console(terminal=True)
    rows = make_rows(50_000)
    with RunDisplay(console=console, errors=make_console()) as display:
        display.on_begin(FACTS, epochs=len(rows), directory=DIRECTORY)
        start = time.perf_counter()
        for row in rows:
            display.on_epoch_end(row)
        seconds = time.perf_counter() - start
    assert seconds / len(rows) < 5e-6
    assert written(console).count("/50000") <= 3 + seconds / 0.1  # at most ten pictures a second


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_live_display_fits_any_width(ascii_only: bool):
    for width in range(30, 131):
        for row in ({}, make_rows(999)[-1], make_rows(1, regression=True)[0]):
            text = format_progress(
                row, 1000, done=row.get("epoch", 0.4), rate=123.4, width=width, label_width=9, ascii_only=ascii_only
            )
            assert max(map(len, text.plain.split("\n"))) <= width
            assert text.plain.isascii() or not ascii_only


def test_a_line_of_the_live_display_ends_before_a_number_that_does_not_fit():
    row = {"epoch": 1, "train_loss": 0.0123, "valid_loss": 0.0456, "train_mae": 0.125}
    lines = set()
    for width in range(10, 60):
        text = format_progress(row, 9, done=1.0, rate=None, width=width, label_width=9, ascii_only=True).plain
        lines |= {line.rstrip() for line in text.split("\n") if line.startswith("train")}
    numbers = {word for line in lines for word in line.split() if word[0].isdigit()}
    assert numbers == {"0.01230", "0.1250"}


def test_the_live_display_shows_progress_rate_and_time_left():
    row = {"epoch": 250, "train_loss": 0.25, "train_accuracy": 0.98, "valid_loss": 0.3, "valid_accuracy": 0.9}
    text = format_progress(row, 1000, done=row["epoch"], rate=50.0, width=100, label_width=9, ascii_only=True)
    assert [line.rstrip() for line in text.plain.split("\n")] == [
        "epoch      250/1000   ========------------------------  50 epochs/s  0:15 left",
        "train      loss 0.2500     accuracy 0.9800",
        "valid      loss 0.3000     accuracy 0.9000",
    ]


def test_the_bar_and_the_time_left_change_within_a_long_epoch():
    text = format_progress({}, 2, done=0.5, rate=0.01, width=100, label_width=9, ascii_only=True).plain
    assert text.rstrip() == "epoch      0/2  ========------------------------  1 min 40 s/epoch  2:30 left"


def test_steps_are_shown_within_a_long_epoch(monkeypatch: pytest.MonkeyPatch):
    clock = count(0, 10.0)
    monkeypatch.setattr("ch12cli.cli.text.run_display.perf_counter", lambda: next(clock))
    console = make_console(terminal=True)
    with RunDisplay(console=console, errors=console) as display:
        display.on_begin([("data", "x")], epochs=2, directory=Path("/runs/1"))
        display.on_step(1, 4)
        display._due = 0.0  # the next picture is due
        display.on_step(2, 4)
        assert "40 s/epoch  1:00 left" in written(console)


def test_an_interrupted_run_prints_the_command_that_resumes_it():
    console = make_console(terminal=True)
    with RunDisplay(console=console, errors=console) as display:
        display.on_begin([("data", "x")], epochs=2, directory=Path("/my runs/1"))
        result = Result(status="interrupted", epochs=1, final=make_rows(1)[-1], best=None, seconds=1.0)
        display.on_end(result, make_rows(1), directory=Path("/my runs/1"))
    assert "continue with: ch12 resume '/my runs/1'" in written(console)


def test_times_of_several_hours_fit_beside_the_bar():
    text = format_progress(
        {"epoch": 250}, 1000, done=250.0, rate=1 / 754, width=80, label_width=9, ascii_only=False
    ).plain
    assert text.endswith("  12 min 34 s/epoch  157:05:00 left")
    assert "━" in text


def run_in_pipe(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env={"PATH": os.environ["PATH"], **environment}
    )


RUN = """
from pathlib import Path
from ch12cli.cli.text.run_display import RunDisplay
from ch12cli.files.result_json import Result
rows = [{"epoch": e, "train_loss": 1 / e, "train_r2": 0.5} for e in range(1, 9)]
with RunDisplay() as display:
    display.on_begin([("data", "x")], epochs=8, directory=Path("/runs/\\u00fc"))
    for row in rows:
        display.on_epoch_end(row)
    display.on_message("careful", warning=True)
    result = Result(status="finished", epochs=8, final=rows[-1], best=rows[-1], seconds=1.0)
    display.on_end(result, rows, directory=Path("/runs/\\u00fc"))
"""


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, {"FORCE_COLOR": "1", "TERM": "xterm"}]
)
def test_standard_output_fits_the_environment(environment: dict[str, str]):
    done = run_in_pipe(RUN, **environment)
    assert done.returncode == 0, done.stderr
    assert SGR.sub("", done.stderr.decode()) == "warning: careful\n"
    assert "PYTHONIOENCODING" not in environment or (done.stdout.isascii() and done.stdout.endswith(b"/runs/\\xfc\n"))
    assert (
        SGR.sub("", done.stdout.decode()).replace("\n", "").isprintable()
    )  # FORCE_COLOR: colours, but no moving cursor


def test_output_in_the_c_locale_is_ascii_although_python_would_write_utf_8(monkeypatch: pytest.MonkeyPatch):
    for locale, ascii_only in (("C", True), ("POSIX", True), ("de_DE.UTF-8", False), ("", False)):
        monkeypatch.setenv("LC_ALL", locale)
        monkeypatch.setenv("LANG", "C.UTF-8")
        monkeypatch.delenv("LC_CTYPE", raising=False)
        assert StreamConsole(_environ={}).options.ascii_only == ascii_only


@pytest.mark.parametrize(("terminal", "width"), [(True, 40), (True, 60), (False, 40)])
def test_sentences_are_broken_between_words_on_a_terminal_alone(terminal: bool, width: int) -> None:
    said = "not distinguishable from the second: better by 0.002852 ± 0.01749, paired over 5 seeds"
    lines = Screen(console=make_console(width, terminal=terminal)).wrapped([said, "short"])
    assert " ".join(lines) == f"{said} short"
    assert (max(map(len, lines)) <= width) == terminal


def test_a_closed_pipe_is_reported_to_the_caller():
    code = f"import os, sys\ntry:\n    exec({RUN!r})\nexcept BrokenPipeError:\n    os._exit(7)"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (7, b"")
