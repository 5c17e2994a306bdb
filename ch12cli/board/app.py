"""The board's addresses, and who may ask for them: the holder of the token, on this machine, under its own name."""

import json
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ch12cli.board.folder import Folder, NotInFolderError
from ch12cli.board.pages import Pages, message_page, stamp_of
from ch12cli.catalogue.damage import refuse_wrong_form
from ch12cli.catalogue.entries import entry_at
from ch12cli.errors import InputError, MachineError
from ch12cli.files.compact.run_files import recorded_job
from ch12cli.files.plain_values import whole_number_in
from ch12cli.files.tags import read_tags, require_valid, update_tags
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.report.page import policy_sources

MARK = "x-ch12-board"  # a header that no other site can send
MOST_BYTES = 10_000  # of a request's body
MOST_JOBS = 500  # curves in one answer
COMMAND_TIME = 300  # seconds of a command that the board runs
NAMES = ("127.0.0.1", "localhost")


def board_app(root: Path, *, token: str, port: int, write: bool) -> ASGIApp:
    """The application. token: what a browser must show once. port: where it is served. write: allows changing tags."""
    folder = Folder(root)
    pages = Pages(folder, write=write)
    threading.Thread(target=folder.list, daemon=True).start()  # so that the list is there when it is asked for
    rendering = threading.Lock()

    def list_page(_request: Request) -> Response:
        return html(pages.list_page())

    def runs(request: Request) -> Response:
        asked = request.query_params
        number = whole_number_in(asked.get("page", "0")) or 0
        found = pages.found_runs(
            asked.get("filter", ""), sort=asked.get("sort", "when"), down=asked.get("down", "1") == "1", number=number
        )
        return JSONResponse(found)

    def entry_page(request: Request) -> Response:
        path = folder.at(request.path_params["path"])
        with refuse_wrong_form(path):
            return html(pages.entry_page(path))

    def data(request: Request) -> Response:
        path = folder.at(request.path_params["path"])
        if request.query_params.get("since") == stamp_of(path, entry_at(path).status):
            return Response(status_code=204)
        with refuse_wrong_form(path):
            return JSONResponse(pages.data(path))

    def curves(request: Request) -> Response:
        path = folder.at(request.path_params["path"])
        jobs = request.query_params.get("jobs", "").split(",")[:MOST_JOBS]
        with refuse_wrong_form(path):
            return JSONResponse(pages.curves(path, jobs))

    def compare(request: Request) -> Response:
        paths = [folder.at(name) for name in request.query_params.getlist("run")]
        with refuse_wrong_form(folder.root):
            return html(pages.comparison_page(paths))

    def report(request: Request) -> Response:
        path = folder.at(request.path_params["path"])
        entry_at(path)
        with rendering, tempfile.TemporaryDirectory() as beside:
            return html(rendered_report(path, Path(beside) / "report.html"))

    async def tags(request: Request) -> Response:
        body = bytearray()
        async for block in request.stream():
            body += block
            if len(body) > MOST_BYTES:  # the rest is not read
                return answer(request, f"the body must be at most {MOST_BYTES:,} bytes", 413)
        return await run_in_threadpool(change_tags, request.path_params["path"], bytes(body))

    def change_tags(relative: str, body: bytes) -> Response:
        if not write:
            return JSONResponse({"error": "the board is read-only; `ch12 board --write` changes tags"}, 403)
        path = folder.at(relative)
        entry_at(path)
        try:
            given = json.loads(body)
            added, removed = (list(map(str, given.get(name, []))) for name in ("add", "remove"))
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise InputError('the body must be {"add": [WORD, …], "remove": [WORD, …]}') from None
        words = [tag for tag in dict.fromkeys([*read_tags(path), *added]) if tag not in removed]
        require_valid(path, words)
        if recorded_job(path) is not None:  # its directory, which the tags are written into, is in the record alone
            run_verb(["unpack", operand(path)], path)
        update_tags(path, add=added, remove=removed)
        folder.renew(path)
        return JSONResponse({"tags": read_tags(path)})

    routes = [
        Route("/", list_page),
        Route("/run/{path:path}", entry_page),
        Route("/report/{path:path}", report),
        Route("/compare", compare),
        Route("/api/runs", runs),
        Route("/api/data/{path:path}", data),
        Route("/api/curves/{path:path}", curves),
        Route("/api/tags/{path:path}", tags, methods=["POST"]),
    ]
    handlers = {NotInFolderError: no_such_run, InputError: refused, MachineError: refused, OSError: refused}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token=token, port=port)


def html(content: bytes) -> Response:
    return Response(content, media_type="text/html")


def answer(request: HTTPConnection, text: str, status: int) -> Response:
    """A message: as JSON for a page's script, else as text."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": text}, status)
    return PlainTextResponse(f"{text}\n", status)


def explain(request: Request, text: str, status: int) -> Response:
    """A message: as JSON for a page's script, else as a page."""
    if request.url.path.startswith("/api/"):
        return answer(request, text, status)
    return Response(message_page(text), status, media_type="text/html")


def no_such_run(request: Request, _error: Exception) -> Response:
    return explain(request, "there is no such run or sweep in the board's folder", 404)


def refused(request: Request, error: Exception) -> Response:
    return explain(request, escape_controls(str(error)), 422)


def rendered_report(path: Path, target: Path) -> bytes:
    """The page of `ch12 report`."""
    run_verb(["report", operand(path), "-o", str(target)], path)
    return target.read_bytes()


def operand(path: Path) -> str:
    """A path as an argument that no command takes for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def run_verb(words: Sequence[str], path: Path) -> None:
    """Runs a command of ch12 about a run in a process of its own, which may need torch: the board does without.

    Raises InputError with its message if it fails.
    """
    line = [sys.executable, "-m", "ch12cli", *words]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=COMMAND_TIME, check=False)
    except subprocess.TimeoutExpired:
        raise MachineError(f"{path}: `ch12 {words[0]}` took more than {COMMAND_TIME} seconds") from None
    if done.returncode:
        raise InputError(done.stderr.strip() or f"{path}: `ch12 {words[0]}` failed")


def security_headers() -> dict[str, str]:
    """The headers of every answer: a page loads nothing from elsewhere, and nobody else may show or keep it."""
    scripts = f"{policy_sources(True)} {policy_sources(False)}"
    rules = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; form-action 'none'; "
        f"base-uri 'none'; frame-ancestors 'none'; script-src {scripts}"
    )
    return {
        "Content-Security-Policy": rules,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


class Guard:
    """Lets through who has the token and asks this machine by its name, so that no page of another site can ask.

    The token comes once in the address, and then in a cookie. What changes something also needs the header MARK.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {name if port == 80 else f"{name}:{port}" for name in NAMES}
        self.cookie = f"ch12-board-{port}"
        self.headers = security_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        found = self.check(HTTPConnection(scope)) or self.app
        await found(scope, receive, send_with_headers)

    def check(self, request: HTTPConnection) -> ASGIApp | None:
        """The answer to who may not ask, or who shows the token; None for who may ask."""
        headers: Headers = request.headers
        if headers.get("host", "").lower() not in self.hosts:
            return answer(request, "the board answers to 127.0.0.1 and localhost alone", 400)
        pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = [value for name, value in pairs if name == "token"]
        if shown and self.is_token(shown[0]):
            rest = urlencode([(name, value) for name, value in pairs if name != "token"])
            path = f"/{request.url.path.lstrip('/')}"  # two slashes would lead to another machine
            response = RedirectResponse(f"{path}{'?' * bool(rest)}{rest}", 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="lax")
            return response
        if not self.is_token(request.cookies.get(self.cookie, "")):
            return answer(request, "open the address that `ch12 board` printed: it holds the token", 403)
        if request.scope["method"] not in ("GET", "HEAD") and headers.get(MARK) is None:
            return answer(request, "only the board's own pages may ask for changes", 403)
        return None

    def is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())
