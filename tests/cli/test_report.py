"""`ch12 report`: what the page holds, and (slow) what a real browser makes of it."""

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from ch12cli.cli.main import main
from ch12cli.files.result_json import seal
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.report import page as pages
from ch12cli.report.page_data import MAX_CURVES, MAX_POINTS, curves_data, page_json, plain_value

WORDS = ["train", "device=cpu", "-q", "epochs=3"]
SECTIONS = ("comparison", "explore", "jobs", "commands")
DATA = '<script type="application/json" id="data">'


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
        self.data = ""
        self.cell = self.script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loaded += [
            str(v) for name, v in attrs if name in ("src", "href", "xlink:href") and not str(v).startswith("#")
        ]
        self.script = tag == "script"
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
        self.script = False
        if tag in ("td", "th"):
            self.cell = False

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self.script:
            self.data = self.data or data  # the first script of a page is its data
            return
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
    settings: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        if row["status"] == "finished":
            settings.setdefault((row["optimizer.lr"], row["model.width"]), []).append(row)
    runs = min(settings.values(), key=lambda runs: mean(float(row["objective"]) for row in runs))
    best = min(runs, key=lambda row: float(row["objective"]))
    assert best["command"] in found.text
    tile = re.search(r"([\d.]+) ± [\d.]+best validation loss, job (\d+)'s setting, mean of 3 seeds", found.text)
    assert tile is not None
    assert float(tile[1]) == pytest.approx(mean(float(row["objective"]) for row in runs), rel=1e-3)
    assert tile[2] == best["job"]
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
    assert re.findall(r"<script[^>]*>", text) == [DATA, "<script>", "<script>"]
    assert not re.search(r"\bon\w+=", text.partition("<script")[0])
    assert "default-src 'none'" in text
    assert "@import" not in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text.partition("<script")[0])) <= {*ids, *SECTIONS}


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
    assert text.count("<script") == 3
    assert "<b onclick" not in text
    assert "\x1b" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\x1b[31m" in text
    sweep = shutil.copytree(trained / "sweep", tmp_path / "sweep")
    table = (sweep / "sweep.csv").read_text(encoding="utf-8").replace("optimizer=sgd", "optimizer=<script>")
    (sweep / "sweep.csv").write_text(table.replace("diverged", evil), encoding="utf-8")
    assert main(["report", str(sweep), "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8").count("<script") == 3
    data = json.loads(Reader(target.read_text(encoding="utf-8")).data)
    assert escape_controls(evil) in data["values"][1]


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
def test_a_runs_page_lists_its_largest_errors_and_its_data(page: Callable[[str], str], trained: Path) -> None:
    assert main([*WORDS, "hydra.run.dir=early", "epochs=1"]) == 0
    tables = Reader(page("early")).tables
    facts = [row for table in tables for row in table]
    assert ["rows", "150: 90 training, 30 validation, 30 test"] in facts
    assert ["classes", "setosa 50, versicolor 50, virginica 50"] in facts
    assert ["features", "4: sepal_length, sepal_width, petal_length, petal_width"] in facts
    errors = next(table for table in tables if table[0][1:] == ["true class", "predicted class", "probability"])
    result = json.loads((trained / "early" / "result.json").read_text(encoding="utf-8"))
    assert len(errors) > 1
    assert len(errors) - 1 == min(15, round(30 * (1 - result["test"]["accuracy"])))
    assert all(true != predicted for _, true, predicted, _ in errors[1:])
    shares = [float(row[3]) for row in errors[1:]]
    assert shares == sorted(shares, reverse=True)


def test_the_largest_errors_have_the_numbers_of_the_rows_in_the_file(folder: Path) -> None:
    lines = [f"{'' if n < 30 else n},{(n * 37) % 101 / 10}" for n in range(100)]
    Path("drop.csv").write_text("\n".join(["x,y", *lines]) + "\n")
    words = ["dataset=table", "dataset.file=drop.csv", "dataset.missing=drop", "hydra.run.dir=dropped"]
    assert main([*WORDS, *words]) == 0
    assert main(["report", "dropped", "-o", "dropped.html"]) == 0
    tables = Reader(Path("dropped.html").read_text(encoding="utf-8")).tables
    errors = next(table for table in tables if table[0][1:] == ["true y", "predicted y", "difference"])
    assert len(errors) > 5
    for row, true, *_ in errors[1:]:
        assert float(true) == pytest.approx(float(lines[int(row)].split(",")[1]), rel=1e-3)
    with np.load("dropped/predictions.npz") as arrays:
        parts = [arrays[f"{name}.rows"] for name in ("train", "valid", "test") if f"{name}.rows" in arrays]
        assert sorted(np.concatenate(parts).tolist()) == list(range(30, 100))


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


def test_what_is_shipped_is_what_its_list_says() -> None:
    """The files of others, unchanged, with their versions and licences."""
    folder = Path(pages.__file__).parent / "vendor"
    listed = re.findall(
        r"^\| `(\S+)` .*`(\w{64})` \|$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(listed) == 2
    for name, digest in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "(v1.6.32)" in (folder / "uPlot.iife.min.js").read_text(encoding="utf-8")[:100]
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text(encoding="utf-8")


def test_the_data_of_a_page_are_json_that_ends_no_script() -> None:
    text = page_json({"a": "</script><!--", "b": "\ud800", "c": [1.5, None]})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--", "b": "\ud800", "c": [1.5, None]}
    assert [plain_value(value) for value in (float("nan"), float("inf"), 0.1234567, 3, None)] == [
        "nan", "inf", 0.123457, 3, None,
    ]  # fmt: skip


def test_a_long_curve_is_thinned_to_its_first_last_and_evenly_spaced_epochs() -> None:
    rows = [{"epoch": float(n), "valid_loss": 1.0 / n, "lr": 0.1} for n in range(1, 1001)]
    curves = curves_data({"0": rows, "1": rows[:2], "2": []}, "valid_loss")
    assert (curves["columns"], list(curves["jobs"])) == (["valid_loss"], ["0", "1"])
    epochs, losses = curves["jobs"]["0"]
    assert (epochs[0], epochs[-1], len(epochs)) == (1, 1000, MAX_POINTS)
    assert losses == [pytest.approx(1 / epoch, rel=1e-4) for epoch in epochs]
    assert curves["jobs"]["1"] == [[1, 2], [1.0, 0.5]]


def test_a_sweeps_data_hold_each_job_and_the_curves_of_the_best(page: Callable[[str], str], trained: Path) -> None:
    data = json.loads(Reader(page("sweep")).data)
    names = [column["name"] for column in data["columns"]]
    roles = {column["name"]: column["role"] for column in data["columns"]}
    assert (roles["objective"], roles["optimizer.lr"], roles["seed"]) == ("metric", "key", "key")
    assert data["values"][names.index("optimizer.lr")][:3] == ["0.01", "0.1", "1e+30"]
    assert data["first"] in ("optimizer.lr", "model.width")
    assert MAX_CURVES >= 18
    epochs, *_ = data["curves"]["jobs"]["0"]
    assert epochs == [1, 2, 3]
