"""`ch12 board`: who may ask, what lies outside its folder, what it finds, and that it only reads."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from ch12cli.board.app import board_app
from ch12cli.cli.main import main
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.files.tags import read_tags
from tests.cli.test_report import Reader

TOKEN = "the-token"
PORT = 8712
COOKIE = {"cookie": f"ch12-board-{PORT}={TOKEN}"}
MARKED = {**COOKIE, "x-ch12-board": "1"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


def asked(
    app: Any,
    address: str,
    *,
    headers: Mapping[str, str] = COOKIE,
    method: str = "GET",
    body: bytes = b"",
    blocks: Iterator[bytes] | None = None,
) -> Answer:
    """The answer of an ASGI application. address: as in the request's line, percent-encoded. blocks: of a long body."""
    path, _, query = address.partition("?")
    lines = {"host": f"127.0.0.1:{PORT}", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "server": ("127.0.0.1", PORT),
        "client": ("127.0.0.1", 50000),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if blocks is not None:
            return {"type": "http.request", "body": next(blocks), "more_body": True}
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    headers_sent = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers_sent, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with outputs/day/run, outputs/day/slow, outputs/sweep of 4 jobs, and a run outside of outputs."""
    folder = tmp_path_factory.mktemp("board")
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = ["train", "device=cpu", "-q", "epochs=2"]
        assert main([*words, "hydra.run.dir=outputs/day/run"]) == 0
        assert main([*words, "hydra.run.dir=outputs/day/slow", "optimizer.lr=1e-6"]) == 0
        assert main([*words, "hydra.sweep.dir=outputs/sweep", "-m", "seed=1,2", "model.width=4,8"]) == 0
        assert main([*words, "hydra.sweep.dir=outputs/compact", "-m", "seed=1,2", "sweep.record=compact"]) == 0
        shutil.copytree("outputs/day/run", "outside")
        Path("outputs", "link").symlink_to(folder / "outside")
    finally:
        os.chdir(before)
    return folder


Ask = Callable[..., Answer]


@pytest.fixture
def ask(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.chdir(trained)
    app = board_app(Path("outputs"), token=TOKEN, port=PORT, write=False)
    return lambda address, **given: asked(app, address, **given)


def test_only_the_holder_of_the_token_is_answered(ask: Ask) -> None:
    for headers in ({}, {"cookie": f"ch12-board-{PORT}=another"}, {"cookie": f"ch12-board-{PORT}="}):
        for address in ("/", "/?token=wrong", "/?token=", "/api/runs", "/run/day/run"):
            answer = ask(address, headers=headers)
            assert answer.status == 403
            assert b"run" not in answer.body.replace(b"ch12 board", b"")
    shown = ask(f"/api/runs?filter=a&token={TOKEN}", headers={})
    assert (shown.status, shown.headers["location"]) == (303, "/api/runs?filter=a")
    cookie = shown.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert ask("/", headers={"cookie": cookie.partition(";")[0]}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8712", "127.0.0.1:9", "localhost", ""])
def test_a_page_under_another_name_is_refused(host: str, ask: Ask) -> None:
    assert ask("/", headers={**COOKIE, "host": host}).status == 400
    assert ask("/", headers={**COOKIE, "host": "localhost:8712"}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "%2e%2e/outside",
        "day/../../outside",
        "/etc",
        "//etc",
        "link",
        "day/run/result.json",
        "none",
        "%00",
    ],
)
def test_nothing_outside_the_folder_is_read(path: str, ask: Ask) -> None:
    for address in ("/run", "/api/data", "/api/curves", "/report"):
        assert ask(f"{address}/{path}").status == 404
    assert ask(f"/compare?run=day/run&run={path}").status == 404


def test_every_answer_forbids_what_a_page_does_not_need(ask: Ask) -> None:
    for address in ("/", "/api/runs", "/none", "/run/none"):
        headers = ask(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("no-referrer", "nosniff")


def test_runs_are_found_by_words_filters_and_keys_and_sorted(ask: Ask) -> None:
    def paths(query: str) -> list[str]:
        return [row["path"] for row in ask(f"/api/runs?{query}").json["rows"]]

    assert sorted(paths("")) == ["compact", "day/run", "day/slow", "sweep"]
    assert paths("filter=slow") == ["day/slow"]
    assert paths("filter=finished%20day") == paths("filter=kind%3Drun")
    assert sorted(paths("filter=kind%3Dsweep")) == ["compact", "sweep"]
    assert paths("filter=optimizer.lr%3C1e-3") == ["day/slow"]
    by_loss = paths("filter=kind%3Drun&sort=objective&down=0")
    assert by_loss == paths("filter=kind%3Drun&sort=objective&down=1")[::-1]
    refused = ask("/api/runs?filter=a%3D%3D%3D")
    assert refused.status == 422
    assert "--filter" in refused.json["error"]
    assert ask("/api/runs?filter=&page=7").json["rows"] == []


def test_a_runs_page_and_a_sweeps_page_have_their_data_and_links_to_the_jobs(ask: Ask, trained: Path) -> None:
    page = Reader(ask("/run/day/run").text)
    data = json.loads(page.data)
    assert data["curves"]["jobs"]["run"][0] == [1, 2]
    assert (data["live"]["status"], data["live"]["running"]) == ("finished", False)
    assert ["optimizer", "adam"] in [row for table in page.tables for row in table]
    sweep = json.loads(Reader(ask("/run/sweep").text).data)
    assert sweep["links"] == [f"/run/sweep/{job}" for job in range(4)]
    assert sweep["live"]["highlights"][0] == ["jobs", "4"]
    label, value = sweep["live"]["highlights"][-1]
    assert label.endswith("'s setting, mean of 2 seeds")
    rows = read_sweep_csv(trained / "outputs" / "sweep" / "sweep.csv")
    losses = {width: [r.number("objective") for r in rows if f"width={width}" in r.command] for width in (4, 8)}
    assert float(value.partition(" ± ")[0]) == pytest.approx(min(sum(each) / 2 for each in losses.values()), rel=1e-3)
    assert "/run/sweep" in ask("/run/sweep/3").text
    live = ask("/api/data/sweep").json
    assert live["values"] == sweep["values"]
    version = live["live"]["version"].replace(" ", "%20")
    assert ask(f"/api/data/sweep?since={version}").status == 204
    curves = ask("/api/curves/sweep?jobs=1,3,99").json
    assert sorted(curves["jobs"]) == ["1", "3"]
    assert curves["jobs"]["1"] == sweep["curves"]["jobs"]["1"]


def test_a_job_of_a_compact_record_has_a_page_and_is_compared(ask: Ask) -> None:
    sweep = json.loads(Reader(ask("/run/compact").text).data)
    assert sweep["links"] == ["/run/compact/0", "/run/compact/1"]
    job = json.loads(Reader(ask("/run/compact/1").text).data)
    assert job["curves"]["jobs"]["run"] == sweep["curves"]["jobs"]["1"]
    assert ask("/run/compact/7").status == 404
    assert "seed" in ask("/compare?run=compact/0&run=compact/1").text


def test_runs_side_by_side_show_what_differs(ask: Ask) -> None:
    page = Reader(ask("/compare?run=day/run&run=day/slow").text)
    rows = [row for table in page.tables for row in table]
    assert ["optimizer.lr", "0.001", "1e-06"] in rows
    data = json.loads(page.data)
    assert data["values"][0] == ["day/run", "day/slow"]
    assert sorted(data["curves"]["jobs"]) == ["day/run", "day/slow"]
    assert ask("/compare?run=day/run").status == 422


def test_a_sweep_is_compared_by_its_best_job_and_a_refusal_leads_back_to_the_list(ask: Ask, trained: Path) -> None:
    rows = read_sweep_csv(trained / "outputs" / "sweep" / "sweep.csv")
    of_width = [[row for row in rows if row.overrides["model.width"] == width] for width in ("4", "8")]
    runs = min(of_width, key=lambda runs: sum(row.number("objective") for row in runs))
    best = min(runs, key=lambda row: row.number("objective")).job
    beside = ask("/compare?run=day/run&run=sweep")
    assert "Of a sweep, the best job of its best setting." in beside.text
    assert json.loads(Reader(beside.text).data)["values"][0] == ["day/run", f"sweep/{best}"]
    refused = ask("/compare?run=day/run")
    assert refused.status == 422
    assert "href='/'" in refused.text
    assert "choose 2 to 64 runs" in refused.text


def test_tags_are_changed_only_where_that_is_allowed_and_by_the_boards_own_pages(
    ask: Ask, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, post = json.dumps({"add": ["good"]}).encode(), partial(asked, headers=MARKED, method="POST")
    read_only = board_app(Path("outputs"), token=TOKEN, port=PORT, write=False)
    assert post(read_only, "/api/tags/day/run", body=body).status == 403
    assert read_tags(trained / "outputs" / "day" / "run") == []
    app = board_app(Path("outputs"), token=TOKEN, port=PORT, write=True)
    assert asked(app, "/api/tags/day/run", body=body, method="POST").status == 403  # without the header
    assert post(app, "/api/tags/day/run", body=body).json == {"tags": ["good"]}
    assert [row["path"] for row in asked(app, "/api/runs?filter=tags~good").json["rows"]] == ["day/run"]
    assert post(app, "/api/tags/../outside", body=body).status == 404
    for wrong in (b"[", b"[]", b'{"add": ["a b"]}', b'{"add": ["<b>"]}', b"[" * 9999):
        assert post(app, "/api/tags/day/run", body=wrong).status == 422
    assert post(app, "/api/tags/day/run", body=b'{"remove": ["good"]}').json == {"tags": []}


def test_a_body_without_end_is_not_read_to_its_end(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    app = board_app(Path("outputs"), token=TOKEN, port=PORT, write=True)
    taken: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(4096)
            yield b" " * 4096

    answer = asked(app, "/api/tags/day/run", headers=MARKED, method="POST", blocks=endless())
    assert answer.status == 413
    assert sum(taken) < 20_000


def test_the_token_leads_to_no_other_machine(ask: Ask) -> None:
    assert ask(f"//evil.example/?token={TOKEN}", headers={}).headers["location"] == "/evil.example/"


@pytest.mark.slow
def test_a_tag_of_a_recorded_job_is_written_into_its_unpacked_directory(folder: Path) -> None:
    line = ["train", "-q", "-m", "device=cpu", "epochs=1", "seed=1,2,3", "sweep.record=compact"]
    assert main([*line, "hydra.sweep.dir=outputs/s"]) == 0
    app = board_app(Path("outputs"), token=TOKEN, port=PORT, write=True)
    post = partial(asked, app, "/api/tags/s/1", headers=MARKED, method="POST")
    assert post(body=b'{"add": ["a b"]}').status == 422
    assert main(["tag", "outputs/s/1", "a b"]) == 2
    assert not Path("outputs/s/1").exists()  # nothing is unpacked for a tag that is refused
    assert post(body=b'{"add": ["good"]}').json == {"tags": ["good"]}
    assert read_tags(Path("outputs/s/1")) == ["good"]
    assert Path("outputs/s/1/model.pt").is_file()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none"], 2, "none: no such folder"),
        (["file"], 2, "file: is a file"),
        ([".", "."], 2, "unexpected argument"),
        (["--port", "x", "."], 2, "--port x: must be a whole number"),
        (["--port", "65536", "."], 2, "--port 65536: must be a whole number"),
        (["--writ", "."], 2, "did you mean `--write`?"),
    ],
)
def test_an_impossible_board_is_refused_in_one_line(
    words: list[str], code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    assert main(["board", *words]) == code
    assert message in capsys.readouterr().err
