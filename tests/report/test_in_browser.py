"""The pages of `ch12 report` in headless Chromium, under their own security policy: what a reader does with them."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ch12cli.cli.main import main
from ch12cli.plots.scale import metric_axis
from tests.browser import Browser, missing_chromium

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_chromium()), reason=missing_chromium() or "none")]

AXE = Path(__file__).parents[2] / "build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
WORDS = ["train", "device=cpu", "-q"]
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run.html, points.html, and sweep.html of 480 jobs."""
    folder = tmp_path_factory.mktemp("reported")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*WORDS, "epochs=3", "hydra.run.dir=run"]) == 0
        assert main([*WORDS, "epochs=3", "hydra.run.dir=points", "dataset=toy_regression"]) == 0
        keys = ["optimizer=sgd,adam", "model.width=4,8,16", "optimizer.lr=0.001,0.01,0.1,1e30", "seed=range(20)"]
        assert main([*WORDS, "epochs=5", "-m", "hydra.sweep.dir=sweep", *keys]) == 0
        for name in ("run", "points", "sweep"):
            assert main(["report", name, "-o", f"{name}.html"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


Open = Callable[..., Browser]


@pytest.fixture
def open_page(chromium: Browser, reports: Path) -> Iterator[Open]:
    """Opens a report. At its end, nothing was asked for but the page, and nothing went wrong in its scripts."""
    chromium.errors.clear()
    chromium.requests.clear()
    opened: list[Path] = []

    def opens(name: str | Path, **options: Any) -> Browser:
        opened.append(reports / f"{name}.html" if isinstance(name, str) else name)
        chromium.open(opened[-1], **options)
        return chromium

    yield opens
    assert chromium.errors == []
    asked = {address for address in chromium.requests if not address.startswith("data:")}
    assert asked == {path.resolve().as_uri() for path in opened}


def column(browser: Browser, name: str) -> list[str]:
    """The texts of a column of the table of jobs, as it is shown."""
    code = """(() => { const table = document.querySelector('table.jobs');
      const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === NAME);
      return [...table.tBodies[0].rows].map((row) => row.cells[place].textContent); })()"""
    return list(browser.evaluate(code.replace("NAME", json.dumps(name))))


def count(browser: Browser) -> str:
    return str(browser.evaluate("document.getElementById('count').textContent"))


def fill_filter(browser: Browser, text: str) -> str:
    """Types into the filter. Returns how many jobs are left."""
    browser.evaluate(
        f"(() => {{ const box = document.getElementById('filter'); box.value = {json.dumps(text)};"
        " box.dispatchEvent(new Event('input')); })()"
    )
    return count(browser)


def choose(browser: Browser, name: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const box = document.getElementById('choose-{name}'); box.value = {json.dumps(value)};"
        " box.dispatchEvent(new Event('change')); })()"
    )


def box(browser: Browser, selector: str, number: int = 0) -> dict[str, float]:
    """Where an element is in the window, after it was scrolled there."""
    code = """(() => { const found = document.querySelectorAll(SELECTOR)[NUMBER];
      found.scrollIntoView({block: 'center', behavior: 'instant'});
      const {x, y, width, height} = found.getBoundingClientRect(); return {x, y, width, height}; })()"""
    found = browser.evaluate(code.replace("SELECTOR", json.dumps(selector)).replace("NUMBER", str(number)))
    return dict(found)


def test_the_table_is_sorted_filtered_turned_and_its_columns_chosen(open_page: Open) -> None:
    browser = open_page("sweep")
    assert count(browser) == "480 of 480"
    assert len(column(browser, "job")) == 100
    sort = "[...document.querySelectorAll('table.jobs th button')].find((b) => b.textContent === 'test_loss').click()"
    browser.evaluate(sort)
    up = [float(cell) for cell in column(browser, "test_loss")]
    assert up == sorted(up)
    browser.evaluate(sort)
    down = [float(cell) for cell in column(browser, "test_loss")]
    assert down == sorted(down, reverse=True)
    assert down[0] > up[-1]
    assert fill_filter(browser, "lr<0.05 and model.width=8") == "80 of 480"
    assert set(column(browser, "optimizer.lr")) == {"0.001", "0.01"}
    assert fill_filter(browser, "diverged") == "120 of 480"
    assert set(column(browser, "status")) == {"diverged"}
    assert fill_filter(browser, "nothing at all") == "0 of 480"
    assert fill_filter(browser, "") == "480 of 480"
    first = column(browser, "job")
    browser.evaluate("document.querySelector('.pages button:last-child').click()")
    assert not set(first) & set(column(browser, "job"))
    browser.evaluate("[...document.querySelectorAll('.columns input')][1].click()")
    assert "status" not in browser.evaluate("document.querySelector('table.jobs thead').textContent")


def test_a_range_of_an_axis_keeps_the_jobs_that_the_table_then_shows(open_page: Open) -> None:
    browser = open_page("sweep")
    axis = box(browser, "[data-axis='optimizer']")
    middle, top = axis["x"] + axis["width"] / 2, axis["y"]
    browser.drag((middle, top + 10), (middle, top + axis["height"] / 2))  # the upper of its two values
    assert count(browser) == "240 of 480"
    assert set(column(browser, "optimizer")) == {"adam"}
    assert "optimizer: adam" in browser.evaluate("document.querySelector('.ranges').textContent")
    browser.click(middle, top + 40)
    assert count(browser) == "480 of 480"


def test_the_keyboard_moves_the_ends_of_a_range_and_steps_through_the_jobs(open_page: Open) -> None:
    browser = open_page("sweep")
    browser.evaluate("document.querySelector(\"[data-handle='model.width 0']\").focus()")
    browser.press("ArrowUp")
    assert count(browser) == "320 of 480"
    assert set(column(browser, "model.width")) == {"8", "16"}
    browser.press("ArrowUp")
    assert count(browser) == "160 of 480"
    assert browser.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "16"
    browser.press("Escape")
    assert count(browser) == "480 of 480"
    browser.evaluate("document.querySelector('.panels .plane').focus()")
    browser.press("ArrowRight")
    assert "job " in browser.evaluate("document.querySelector('.panels .tip').textContent")


def test_the_pointer_over_a_job_says_which_and_its_value_and_a_click_shows_its_curve(open_page: Open) -> None:
    browser = open_page("sweep")
    choose(browser, "x", "job")
    box(browser, ".panels .u-over")
    place = (
        "(() => { const plane = document.querySelector('.panels .u-over').getBoundingClientRect(); return [%s]; })()"
    )
    left, top, width, height = browser.evaluate(place % "plane.x, plane.y, plane.width, plane.height")
    for step in range(40):
        browser.mouse("Moved", left + width * (0.02 + step / 44), top + height * 0.93)
        if not browser.evaluate("document.querySelector('.panels .tip').hidden"):
            break
    browser.settle()
    said = browser.evaluate("document.querySelector('.panels .tip').textContent")
    job = re.match(r"job (\d+), ", said)
    assert job is not None
    index = column(browser, "job").index(job[1])
    assert f"validation loss: {column(browser, 'objective')[index]}" in said
    assert f"lr={column(browser, 'optimizer.lr')[index]}" in said
    browser.click(left + width * (0.02 + step / 44), top + height * 0.93)
    assert f"Picked: job {job[1]}, " in browser.evaluate("document.getElementById('curves').textContent")


def test_metric_axis_colour_and_panels_are_chosen(open_page: Open) -> None:
    browser = open_page("sweep")
    choose(browser, "y", "test_accuracy")
    choose(browser, "x", "model.width")
    choose(browser, "colour", "optimizer.lr")
    choose(browser, "facet", "optimizer")
    labels = browser.evaluate("[...document.querySelectorAll('.panels .plane')].map((p) => p.ariaLabel)")
    assert [label.partition(";")[0] for label in labels] == [
        "test_accuracy over model.width, optimizer=sgd",
        "test_accuracy over model.width, optimizer=adam",
    ]
    legend = browser.evaluate("document.querySelector('.legend').textContent")
    assert [text for text in ("0.001", "0.01", "0.1", "1e+30") if text not in legend] == []


def test_the_axes_of_a_page_are_those_of_the_figures(open_page: Open) -> None:
    browser = open_page("sweep")
    for values in (
        [90.0, 3.0, 2.9, 2.8],
        [*np.linspace(-1, 1, 30).tolist(), -1e9],
        [2.3 * 0.4**n + 0.05 + 0.003 * (n % 4) for n in range(100)],
        [1 - 0.9 * 0.4**n + 0.001 * (n % 3) for n in range(100)],
        np.geomspace(1e-8, 1e3, 75).tolist(),
    ):
        axis = metric_axis("", [np.array(values)])
        text = json.dumps(values)
        log = browser.evaluate(f"isWide({text}, SPREAD.metric)")
        low, high = browser.evaluate(f"limits({text}, {json.dumps(log)})")
        assert log == axis.log
        assert (low, high) == pytest.approx(axis.limits or (min(values), max(values)))


def test_a_job_in_the_table_shows_its_own_curve(open_page: Open) -> None:
    browser = open_page("sweep")
    browser.evaluate("document.querySelector('table.jobs button.pick[aria-label=\"curve of job 3\"]').click()")
    assert browser.evaluate("document.querySelector('button.pick[aria-pressed=true]').textContent") == "3"
    assert "Picked: job 3, " in browser.evaluate("document.getElementById('curves').textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", ["run", "points", "sweep"])
def test_nothing_overflows_dark_is_dark_and_axe_finds_nothing_serious(
    name: str, width: int, dark: bool, open_page: Open
) -> None:
    browser = open_page(name, width=width, dark=dark)
    found = browser.evaluate("""(() => {
      const size = (each) => each.getBoundingClientRect();
      const seen = (each) => each.checkVisibility();
      const cut = [...document.querySelectorAll('.facts td, .facts th, .figures b')]
        .filter((each) => size(each).right > innerWidth || each.scrollWidth > each.clientWidth + 1).length;
      const letters = [...document.querySelectorAll('figcaption, td, th, p')].filter(seen)
        .map((each) => parseFloat(getComputedStyle(each).fontSize));
      return {wide: document.documentElement.scrollWidth, cut, back: getComputedStyle(document.body).backgroundColor,
        letters: Math.min(...letters), planes: document.querySelectorAll('.plane canvas').length,
        figures: [...document.querySelectorAll('figure svg')].filter(seen).map((svg) => size(svg).width)}; })()""")
    assert found["wide"] == width
    assert found["cut"] == 0
    assert found["letters"] > 12
    assert found["planes"] >= 1
    assert found["figures"]
    assert all(250 < figure <= width for figure in found["figures"])
    brightness = sum(map(int, re.findall(r"\d+", found["back"])[:3]))
    assert (brightness < 150) if dark else (brightness > 700)
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install --prefix build/npm axe-core")
    browser.evaluate(AXE.read_text(encoding="utf-8"))
    violations = browser.evaluate(
        "axe.run().then(({violations}) => violations.filter(({impact}) => ['serious', 'critical'].includes(impact))"
        ".map(({id, nodes}) => [id, nodes[0].html.slice(0, 200)]))"
    )
    assert violations == []


def test_in_print_a_sweep_of_480_jobs_takes_four_pages(open_page: Open) -> None:
    pdf = open_page("sweep").pdf()
    pages = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert len(pages) <= 4
    assert {float(width) > float(height) for width, height in pages} == {True, False}
    folded = "[...document.querySelectorAll('details')].map((each) => each.open)"
    browser = open_page("run")
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate(folded) == [True]
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate(folded) == [False]


def test_without_scripts_a_page_shows_its_figures_and_tables(open_page: Open) -> None:
    browser = open_page("sweep", script=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.evaluate("document.querySelectorAll('figure svg').length") >= 4
    assert browser.evaluate("document.querySelector('table.jobs').tBodies[0].rows.length") == 100
    assert browser.evaluate("document.getElementById('explore').checkVisibility()") is False


def test_hostile_names_and_values_execute_nothing(open_page: Open, reports: Path, tmp_path: Path) -> None:
    sweep = shutil.copytree(reports / "sweep", tmp_path / f"sweep {EVIL.replace('/', '')}")
    table = (sweep / "sweep.csv").read_text(encoding="utf-8")
    table = table.replace("optimizer=adam", f"'optimizer={EVIL}'").replace("diverged", EVIL)
    (sweep / "sweep.csv").write_text(table, encoding="utf-8")
    (sweep / ".ch12" / "plan.json").unlink()
    target = tmp_path / "evil.html"
    assert main(["report", str(sweep), "-o", str(target)]) == 0
    browser = open_page(target)
    assert EVIL in column(browser, "status")
    choose(browser, "facet", "status")
    assert browser.evaluate("document.querySelectorAll('img, [onerror]').length") == 0


def test_ten_thousand_jobs_are_sorted_and_filtered_at_once(open_page: Open, reports: Path, tmp_path: Path) -> None:
    text = (reports / "sweep.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text)
    assert found is not None
    data = json.loads(found[1])
    data["values"] = [[*values] * 21 for values in data["values"]]
    data["values"][0] = list(range(480 * 21))
    many = json.dumps(data).replace("<", r"\u003c")
    target = tmp_path / "many.html"
    target.write_text(text.replace(found[1], many), encoding="utf-8")
    browser = open_page(target)
    assert count(browser) == "10080 of 10080"
    browser.evaluate("window.began = performance.now()")
    assert fill_filter(browser, "lr<0.05") == "5040 of 10080"
    assert browser.evaluate("performance.now() - window.began") < 5000  # 200 when nothing else runs
    assert len(column(browser, "job")) == 100


def test_curves_are_smoothed_and_their_scale_is_chosen(open_page: Open) -> None:
    browser = open_page("run")
    curves = json.loads(browser.evaluate("document.getElementById('data').textContent"))["curves"]
    values = curves["jobs"]["run"][1 + curves["columns"].index("train_loss")]
    wanted, total = 0.0, 0.0
    for value in values:  # with less weight for the earlier epochs: that of TensorBoard, without its bias
        wanted, total = wanted * 0.5 + value, total * 0.5 + 1
    code = """(() => { const box = document.querySelector('#explore input[type=range]'); box.value = 0.5;
      box.dispatchEvent(new Event('input')); const select = document.querySelector('#explore select');
      select.value = 'log'; select.dispatchEvent(new Event('change'));
      const plane = document.querySelector('#explore .plane');
      plane.focus(); plane.dispatchEvent(new KeyboardEvent('keydown', {key: 'End'})); })()"""
    browser.evaluate(code)
    said = [browser.evaluate("document.querySelector('#explore .tip').textContent")]
    browser.evaluate(
        "document.querySelector('#explore .plane').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))"
    )
    said.append(browser.evaluate("document.querySelector('#explore .tip').textContent"))
    (training,) = [text for text in said if text.startswith("training loss\nepoch 3: ")]
    exact, smooth = map(float, re.findall(r"\d\.\d+", training))
    assert exact == pytest.approx(values[-1], rel=1e-3)
    assert smooth == pytest.approx(wanted / total, rel=1e-3)
