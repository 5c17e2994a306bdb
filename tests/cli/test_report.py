"""`ch12 report`: what the page holds, and (slow) what a real browser makes of it."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.files.result_json import seal

WORDS = ["train", "device=cpu", "-q", "epochs=3"]
CHROMIUM = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*WORDS, "hydra.run.dir=run", "optimizer.lr=0.02"]) == 0
        words = ["hydra.sweep.dir=sweep", "-m", "seed=1,2,3", "model.width=4,8", "optimizer.lr=0.01,0.1,1e30"]
        assert main([*WORDS, "optimizer=sgd", *words]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def page(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.chdir(trained)

    def of(word: str) -> str:
        target = tmp_path / "report.html"
        assert main(["report", word, "-o", str(target)]) == 0
        return target.read_text(encoding="utf-8")

    return of


class Reader(HTMLParser):
    """Tables as rows of texts, what is loaded from elsewhere, and elements that are not closed."""

    VOID = ("meta", "input", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loaded += [
            str(v) for name, v in attrs if name in ("src", "href", "xlink:href") and not str(v).startswith("#")
        ]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.cell = True
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.cell = False

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cell:
            self.tables[-1][-1][-1] += data


def test_a_runs_page_holds_its_metrics_its_configuration_and_the_commands_that_repeat_it(
    page: Callable[[str], str], trained: Path
) -> None:
    text = page("run")
    found = Reader(text)
    result = json.loads((trained / "run" / "result.json").read_text(encoding="utf-8"))
    assert found.open == []
    assert "iris, mlp" in found.text
    assert f"{result['test']['accuracy']:.4g}" in found.text
    assert "ch12 train device=cpu epochs=3 optimizer.lr=0.02" in found.text
    assert "ch12 repro run" in found.text
    facts = [row for table in found.tables for row in table]
    assert ["optimizer.lr", "0.02"] in facts
    assert ["torch", result["environment"]["torch"]] in facts
    with open(trained / "run" / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    epochs = next(table for table in found.tables if table[0] == rows[0])
    assert len(epochs) == 4
    assert float(epochs[3][1]) == pytest.approx(float(rows[3][1]), rel=1e-5)
    assert text.count("<svg") == 4  # loss, accuracy, confusion matrix, boundary


def test_the_commands_on_a_page_run_and_repeat_the_run(
    page: Callable[[str], str], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [unescape(line) for line in re.findall(r"<(?:code|pre)[^>]*>(ch12 .*?)</", page("run"), re.DOTALL)]
    assert [shlex.split(line)[1] for line in lines] == ["train", "repro", "eval"]
    shutil.copytree(trained / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    train, *others = (shlex.split(line)[1:] for line in lines)
    assert [main(words) for words in ([*train, "-q", "hydra.run.dir=again"], *others)] == [0, 0, 0]
    for name in ("metrics.csv", "model.pt"):
        first, again = ((tmp_path / run / name).read_bytes() for run in ("run", "again"))
        if name == "metrics.csv":  # all but the seconds
            first, again = (re.sub(rb",[^,]*\n", b"\n", content) for content in (first, again))
        assert first == again, name


def test_a_sweeps_page_compares_it_and_lists_every_job(page: Callable[[str], str], trained: Path) -> None:
    text = page("sweep")
    found = Reader(text)
    with open(trained / "sweep" / "sweep.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    jobs = next(table for table in found.tables if table[0][0] == "job")
    header = {name: place for place, name in enumerate(jobs[0])}
    assert [job[0] for job in jobs[1:]] == [row["job"] for row in rows]
    for job, row in zip(jobs[1:], rows, strict=True):
        assert job[header["status"]] == row["status"]
        assert job[header["optimizer.lr"]] == row["optimizer.lr"]
        if row["test_loss"]:
            assert float(job[header["test_loss"]]) == pytest.approx(float(row["test_loss"]), rel=1e-5)
    compared = next(table for table in found.tables if "best job" in table[0])
    assert len(compared) == 1 + 6
    best = min((row for row in rows if row["status"] == "finished"), key=lambda row: float(row["objective"]))
    assert best["command"] in found.text
    assert "runs 2, 5, 8 and 3 more" in found.text  # why they diverged
    assert text.count("<svg") >= 4


@pytest.mark.slow
def test_the_table_of_jobs_begins_with_the_results(page: Callable[[str], str]) -> None:
    text = page("sweep")
    jobs = next(table for table in Reader(text).tables if table[0][0] == "job")
    assert jobs[0][:5] == ["job", "status", "objective", "test_loss", "test_accuracy"]
    assert "monitor" not in jobs[0]
    assert "monitor=valid_loss" in text


@pytest.mark.parametrize("word", ["run", "sweep"])
def test_a_page_loads_nothing_and_runs_only_its_own_script(word: str, page: Callable[[str], str]) -> None:
    text = page(word)
    found = Reader(text)
    assert [value for value in found.loaded if not value.startswith("data:image/png;base64,")] == []
    assert text.count("<script") == 1
    assert not re.search(r"\bon\w+=", text.partition("<script")[0])
    assert "default-src 'none'" in text
    assert "@import" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(ids)) == len(ids) or all(text.count(f"#{name}") for name in ids)


def test_hostile_names_and_results_are_escaped(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "<script>alert(1)</script>\x1b[31m"
    run = shutil.copytree(trained / "run", tmp_path / "<b onclick=1>run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    del result["checksum"]
    result["environment"]["host"] = evil
    result["error"] = evil
    result["test"][evil] = 0.5
    (run / "result.json").write_bytes(seal(result))
    (run / ".hydra" / "overrides.yaml").write_text(json.dumps([evil]), encoding="utf-8")
    target = tmp_path / "a.html"
    assert main(["report", str(run), "-o", str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    assert text.count("<script") == 1
    assert "<b onclick" not in text
    assert "\x1b" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\x1b[31m" in text
    sweep = shutil.copytree(trained / "sweep", tmp_path / "sweep")
    table = (sweep / "sweep.csv").read_text(encoding="utf-8").replace("optimizer=sgd", "optimizer=<script>")
    (sweep / "sweep.csv").write_text(table.replace("diverged", evil), encoding="utf-8")
    assert main(["report", str(sweep), "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8").count("<script") == 1


@pytest.mark.slow
def test_a_page_says_why_a_run_diverged_and_shows_values_and_not_their_names(
    page: Callable[[str], str], trained: Path
) -> None:
    found = Reader(page("sweep/2"))
    assert "the loss was no longer finite in epoch 1" in found.text
    found = Reader(page("run"))
    assert "by class" in found.text
    assert not [cell for table in found.tables for row in table for cell in row if "${" in cell]
    assert ["early_stopping.metric", "auto"] in [row for table in found.tables for row in table]
    if not (trained / "points").exists():
        assert main([*WORDS, "hydra.run.dir=points", "dataset=toy_regression"]) == 0
    assert "by class" not in Reader(page("points")).text


@pytest.mark.slow
def test_each_plot_of_a_page_has_a_title_and_its_notes_in_the_text(
    page: Callable[[str], str],
) -> None:
    titles = re.findall(r'aria-label="([^"]+)"', page("run"))
    shown = ["learning curves: loss", "learning curves: accuracy", "confusion matrix", "boundary"]
    assert titles == [f"iris, mlp: {name}" for name in shown]
    text = page("sweep")
    assert "<figcaption>Lines: mean of the runs. Bands: 5th to 95th percentile.</figcaption>" in text
    assert len(set(re.findall(r'aria-label="([^"]+)"', text))) == text.count("<svg")


@pytest.mark.slow
def test_damaged_and_unfinished_runs_give_a_page_or_one_message(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "a.html")
    run = shutil.copytree(trained / "run", tmp_path / "run")
    (run / "result.json").unlink()
    assert main(["report", str(run), "-o", target]) == 0
    assert "killed" in Path(target).read_text(encoding="utf-8")
    (run / "metrics.csv").unlink()
    assert main(["report", str(run), "-o", target]) == 0
    (run / "result.json").write_text("[", encoding="utf-8")
    assert main(["report", str(run), "-o", target]) == 0
    assert "damaged" in Reader(Path(target).read_text(encoding="utf-8")).text
    sweep = shutil.copytree(trained / "sweep", tmp_path / "sweep")
    (sweep / "sweep.csv").write_text("job,directory\n", encoding="utf-8")
    assert main(["report", str(sweep), "-o", target]) == 0
    (sweep / "sweep.csv").write_bytes(b"\xff\xfe")
    assert main(["report", str(sweep), "-o", target]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "report: name one run or sweep"),
        (["run", "sweep"], "report: name one run or sweep"),
        (["nothere"], "nothere: no such directory"),
        (["run", "-o", "a.pdf"], "-o a.pdf: must end in .html"),
        (["run", "-o", "none/a.html"], "-o none/a.html: there is no directory none"),
        (["."], "is neither a run nor a sweep"),
    ],
)
def test_an_impossible_report_is_refused_in_one_line(
    words: list[str], message: str, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    assert main(["report", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweeps_report_needs_no_torch(trained: Path) -> None:
    script = (
        "import sys; from ch12cli.cli.main import main\n"
        "assert main(['report', 'sweep', '-o', 'x.html']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=trained, check=True, stdout=subprocess.DEVNULL)


def chromium(file: Path, *options: str, width: int = 1200) -> "subprocess.CompletedProcess[str]":
    """Headless Chromium (Debian's package chromium) on a page."""
    if shutil.which(CHROMIUM[0]) is None:
        pytest.fail("chromium is not installed, in which the report's page is looked at: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        line = [*CHROMIUM, f"--user-data-dir={profile}", f"--window-size={width},900", *options, f"{file}"]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)


def browse(file: Path, *options: str, width: int = 1200) -> str:
    """The page as Chromium has it after its script has run."""
    done = chromium(file, *options, "--dump-dom", width=width)
    assert "Uncaught" not in done.stderr
    return done.stdout


def with_steps(file: Path, steps: str) -> Path:
    """The page with a script of the test's own at its end, and without the rule that keeps such out."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", file.read_text(encoding="utf-8"))
    changed = file.with_name("steps.html")
    told = f"document.title = JSON.stringify((() => {{ {steps} }})());"
    script = f"<script>addEventListener('load', () => {{ {told} }})</script>"
    changed.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    return changed


def answer(page: str) -> object:
    found = re.search(r"<title>(.*?)</title>", page)
    assert found is not None
    return json.loads(found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.slow
def test_in_a_browser_the_jobs_are_counted_sorted_and_filtered(page: Callable[[str], str], tmp_path: Path) -> None:
    page("sweep")
    file = tmp_path / "report.html"
    assert "18 of 18" in browse(file)  # under its own policy
    steps = """
      const names = [...document.querySelectorAll('table.jobs th')].map((th) => th.textContent);
      const column = (name) => [...document.querySelectorAll('table.jobs tbody tr')].filter((row) => !row.hidden)
        .map((row) => row.cells[names.indexOf(name)].textContent);
      const click = (name) => document.querySelectorAll('table.jobs th button')[names.indexOf(name)].click();
      const type = (text) => { const box = document.getElementById('filter'); box.value = text;
        box.dispatchEvent(new Event('input')); return document.getElementById('count').textContent; };
      const found = {};
      click('test_loss'); found.up = column('test_loss');
      click('test_loss'); found.down = column('test_loss');
      found.less = type('lr<0.05'); found.rates = column('optimizer.lr');
      found.both = type('lr<0.05 and model.width=8'); found.word = type('diverged');
      found.none = type('nothing at all');
      found.all = type('');
      return found;
    """
    found = answer(browse(with_steps(file, steps)))
    assert isinstance(found, dict)
    up, down = ([float(cell) if cell else None for cell in found[name]] for name in ("up", "down"))
    assert up[:12] == sorted(up[:12])
    assert up[12:] == [None] * 6 == down[12:]  # of those that diverged, last either way
    assert down[:12] == up[:12][::-1]
    assert (found["less"], set(found["rates"])) == ("6 of 18", {"0.01"})
    assert (found["both"], found["word"], found["none"], found["all"]) == ("3 of 18", "6 of 18", "0 of 18", "18 of 18")


def within_a_frame(file: Path, width: int) -> Path:
    """A page that shows the page in a frame of that width: a window of Chromium's is never narrower than 500."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", file.read_text(encoding="utf-8"))
    framed = file.with_name("framed.html")
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(text)}"></iframe>'
    framed.write_text(f"<!doctype html><title></title><body>{frame}</body>", encoding="utf-8")
    return framed


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("word", ["run", "sweep"])
def test_in_a_browser_nothing_overflows_and_dark_mode_is_dark(
    word: str, width: int, dark: bool, page: Callable[[str], str], tmp_path: Path
) -> None:
    page(word)
    steps = """
      const inside = document.querySelector('iframe').contentDocument;
      const size = (each) => each.getBoundingClientRect();
      const cut = [...inside.querySelectorAll('.facts td, .facts th, .figures b')]
        .filter((each) => size(each).right > innerWidth || each.scrollWidth > each.clientWidth + 1).length;
      const letters = [...inside.querySelectorAll('figcaption, td, th, p')]
        .map((each) => parseFloat(inside.defaultView.getComputedStyle(each).fontSize));
      return {wide: inside.documentElement.scrollWidth, window: inside.defaultView.innerWidth, cut: cut,
        back: inside.defaultView.getComputedStyle(inside.body).backgroundColor, letters: Math.min(...letters),
        figures: [...inside.querySelectorAll('figure svg')].map((svg) => size(svg).width)};
    """
    file = with_steps(within_a_frame(tmp_path / "report.html", width), steps)
    options = ("--blink-settings=preferredColorScheme=0", "--force-dark-mode") if dark else ()
    found = answer(browse(file, *options, width=1300))
    assert isinstance(found, dict)
    assert (found["window"], found["cut"]) == (width, 0)
    assert found["wide"] <= width
    assert found["letters"] > 12
    assert found["figures"]
    assert all(250 < figure <= width for figure in found["figures"])
    brightness = sum(map(int, re.findall(r"\d+", found["back"])[:3]))
    assert (brightness < 150) if dark else (brightness > 700)


@pytest.mark.slow
def test_in_print_the_job_table_has_landscape_pages_and_folded_sections_are_open(
    page: Callable[[str], str], tmp_path: Path
) -> None:
    page("sweep")
    pdf = tmp_path / "sweep.pdf"
    chromium(tmp_path / "report.html", "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    pages = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
    assert {float(width) > float(height) for width, height in pages} == {True, False}
    page("run")
    steps = """
      dispatchEvent(new Event('beforeprint'));
      const opened = [...document.querySelectorAll('details')].map((each) => each.open);
      dispatchEvent(new Event('afterprint'));
      return [opened, [...document.querySelectorAll('details')].map((each) => each.open)];
    """
    assert answer(browse(with_steps(tmp_path / "report.html", steps))) == [[True], [False]]
