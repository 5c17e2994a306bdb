"""`ch12 board` as a process, in headless Chromium: what trains is followed, and runs are found, compared and tagged."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ch12cli.cli.main import main
from ch12cli.files.tags import read_tags
from tests.browser import Browser, missing_chromium
from tests.report.test_in_browser import AXE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_chromium()), reason=missing_chromium() or "none")]

CH12 = (sys.executable, "-m", "ch12cli")
TRAIN = ("train", "-q", "device=cpu")
ROWS = "document.querySelectorAll('table.runs tbody tr').length"


class Served(NamedTuple):
    folder: Path
    address: str  # with the token
    browser: Browser

    def open(self, path: str) -> None:
        self.browser.open(self.address.partition("/?")[0] + path)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A board of two runs."""
    folder = tmp_path_factory.mktemp("served")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for name in ("first", "second"):
            assert main([*TRAIN, "epochs=2", f"hydra.run.dir=outputs/{name}"]) == 0
        line = [*CH12, "board", "--port", "0", "--write"]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process, Browser() as browser:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            browser.open(address)
            yield Served(folder, address, browser)
            errors = [*browser.errors]  # before the board ends, which a page would complain of
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        assert errors == []
    finally:
        os.chdir(before)


def text_of(browser: Browser, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).textContent"))


def test_the_token_leaves_the_address_and_the_runs_are_listed_found_and_compared(board: Served) -> None:
    browser = board.browser
    browser.open(board.address)
    browser.wait_for(f"{ROWS} === 2")
    assert "token" not in browser.evaluate("location.href")
    browser.evaluate("(() => { const f = document.getElementById('filter'); f.value = 'sec';"
                     " f.dispatchEvent(new Event('input')); })()")  # fmt: skip
    browser.wait_for(f"{ROWS} === 1")
    assert text_of(browser, "table.runs a") == "second"
    browser.open(board.address)
    browser.wait_for(f"{ROWS} === 2")
    browser.evaluate("document.querySelectorAll('table.runs input').forEach((box) => box.click())")
    browser.evaluate("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Compare 2').click()")
    browser.wait_for("document.querySelector('h1')?.textContent === '2 runs compared'")


def test_a_tag_that_is_added_on_the_page_is_that_of_the_run(board: Served) -> None:
    browser = board.browser
    browser.open(board.address)
    browser.wait_for(f"{ROWS} === 2")
    browser.evaluate("document.querySelector('[aria-label=\"choose first\"]').click()")
    browser.evaluate("document.querySelector('[aria-label=Tag]').value = 'good'")
    browser.evaluate("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Add').click()")
    browser.wait_for("document.querySelector('table.runs tbody').textContent.includes('good')")
    assert read_tags(board.folder / "outputs" / "first") == ["good"]


def test_a_run_that_trains_is_followed_until_it_ends(board: Served) -> None:
    browser = board.browser
    line = [*CH12, *TRAIN, "epochs=100000", "hydra.run.dir=outputs/long"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        while not (board.folder / "outputs" / "long" / "metrics.csv").exists():
            assert training.poll() is None
            time.sleep(0.1)
        board.open("/run/long")
        browser.wait_for("document.getElementById('status')?.textContent === 'running'")
        epochs = "[...document.querySelectorAll('#highlights div')].find((d) => d.textContent.endsWith('epochs'))"
        first = int(browser.wait_for(f"parseInt({epochs}?.textContent)"))
        browser.wait_for(f"parseInt({epochs}.textContent) > {first}")
        browser.wait_for("document.querySelectorAll('.plane canvas').length")
        training.send_signal(signal.SIGINT)
        training.wait(60)
        browser.wait_for("document.getElementById('status')?.textContent === 'interrupted'")


def test_a_sweep_that_trains_shows_its_jobs_as_they_end_and_the_time_left(board: Served) -> None:
    browser = board.browser
    line = [*CH12, *TRAIN, "-m", "hydra.sweep.dir=outputs/many", "epochs=400", "seed=range(64)"]
    line += ["sweep.max_stacked=1", "sweep.processes=1"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        while not (board.folder / "outputs" / "many" / "sweep.csv").exists():
            assert training.poll() is None
            time.sleep(0.1)
        board.open("/run/many")
        jobs = "parseInt(document.getElementById('count')?.textContent ?? 0)"
        first = int(browser.wait_for(f"{jobs} > 0 && {jobs}"))
        browser.wait_for(f"{jobs} > {first}")
        browser.wait_for("/about .* left/.test(document.getElementById('standing').textContent)")
        training.send_signal(signal.SIGINT)
        training.wait(60)
        browser.wait_for("document.getElementById('status')?.textContent === 'interrupted'")


@pytest.mark.parametrize("path", ["/", "/run/first", "/compare?run=first&run=second"])
def test_axe_finds_nothing_serious(path: str, board: Served) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install --prefix build/npm axe-core")
    browser = board.browser
    board.open(path)
    browser.wait_for("!!document.getElementById('explore').querySelector('canvas, tbody tr')")
    browser.evaluate(AXE.read_text(encoding="utf-8"))
    violations = browser.evaluate(
        "axe.run().then(({violations}) => violations.filter(({impact}) => ['serious', 'critical'].includes(impact))"
        ".map(({id, nodes}) => [id, nodes[0].html.slice(0, 200)]))"
    )
    assert violations == []


def test_all_figures_are_the_report_of_the_run(board: Served) -> None:
    board.open("/report/first")
    assert board.browser.evaluate("document.querySelectorAll('figure svg').length") >= 4


def test_a_port_that_is_taken_is_refused_and_the_usual_one_replaced(
    board: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(board.folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["board", "--port", str(taken.getsockname()[1])]) == 4
    assert "is taken by another program" in capsys.readouterr().err
