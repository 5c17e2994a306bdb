"""Drives headless Chromium by its DevTools protocol, over a pipe: opens a page, points, drags, types, prints."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)
PATIENCE = 60.0  # seconds for an answer


def missing_chromium() -> str:
    """Why there is no browser to test with; empty if there is one."""
    return "" if shutil.which("chromium") else "needs Chromium: apt-get install chromium"


class Browser:
    """A browser with one page. errors: what its console said; requests: the addresses that it asked for."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = 0
        self.number = 0

    def __enter__(self) -> Self:
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, from_browser = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (to_browser[0], from_browser[1])]

        def place() -> None:  # the protocol is spoken on the file descriptors 3 and 4
            for number, each in zip((3, 4), theirs, strict=True):
                os.dup2(each, number, inheritable=True)

        line = ["chromium", *OPTIONS, f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen(
            line, preexec_fn=place, pass_fds=(3, 4), stderr=subprocess.DEVNULL, start_new_session=True
        )
        for each in (*theirs, to_browser[0], from_browser[1]):
            os.close(each)
        self.writer, self.reader = os.fdopen(to_browser[1], "wb"), os.fdopen(from_browser[0], "rb")
        self.buffer = b""
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.writer.close()
        self.reader.close()
        self.profile.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a method of the protocol."""
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            request["sessionId"] = self.session
        self.writer.write(json.dumps(request).encode() + b"\0")
        self.writer.flush()
        number = self.number
        while (answer := self.receive()).get("id") != number:
            pass
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        """The next message. Keeps what events say."""
        while b"\0" not in self.buffer:
            more = os.read(self.reader.fileno(), 1 << 20)
            if not more:
                raise AssertionError("the browser has ended")
            self.buffer += more
        content, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(content)
        given = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(str(given["exceptionDetails"].get("exception", given)))
            case "Log.entryAdded" if given["entry"]["level"] == "error":
                self.errors.append(given["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(given["request"]["url"])
            case "Page.loadEventFired":
                self.loaded += 1
        return message

    def open(
        self, address: str | Path, *, width: int = 1200, height: int = 900, dark: bool = False, script: bool = True
    ) -> None:
        """Opens a page, and waits until it is loaded."""
        if isinstance(address, Path):
            address = address.resolve().as_uri()
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        before = self.loaded
        self.call("Page.navigate", url=address)
        while self.loaded == before:
            self.receive()
        if script:
            self.settle()

    def evaluate(self, code: str) -> Any:
        """The value of an expression in the page, or of what it promises."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def wait_for(self, holds: Callable[[], Any] | str) -> Any:
        """What an expression gives as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := self.evaluate(holds) if isinstance(holds, str) else holds():
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {holds}")

    def mouse(self, kind: str, x: float, y: float, *, buttons: int = 0) -> None:
        """kind: Moved, Pressed or Released."""
        button = "none" if kind == "Moved" and not buttons else "left"
        self.call(
            "Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button=button, buttons=buttons, clickCount=1
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("Moved", *start)
        self.mouse("Pressed", *start, buttons=1)
        for share in (0.3, 0.6, 1.0):
            place = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
            self.mouse("Moved", place[0], place[1], buttons=1)
        self.mouse("Released", *end)
        self.settle()

    def click(self, x: float, y: float) -> None:
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, buttons=1)
        self.mouse("Released", x, y)
        self.settle()

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
        self.settle()

    def settle(self) -> None:
        """Waits for the next two pictures."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self.clip() if whole else {})["data"]
        file.write_bytes(base64.b64decode(data))

    def clip(self) -> dict[str, Any]:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])
