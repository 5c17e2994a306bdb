"""What a stranger may put into a run's directory, and a watch over what a command does with it.

Files that would run a command if they were read as code, and settings that would if they were built.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

SECRET = "a-secret-of-this-machine"  # what an environment variable and a file hold that nothing may show


# What a command does to the machine beside its files, as Python's audit hooks call it.
ACTS = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "pty.", "socket.connect"),
    *("socket.bind", "socket.getaddrinfo", "urllib.", "http.", "ftplib.", "webbrowser."),
)


class Watch:
    """What happens while it is on: commands, connections, and files opened or changed outside of `inside`."""

    def __init__(self) -> None:
        self.on = False
        self.inside: tuple[Path, ...] = ()
        self.seen: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event.startswith(ACTS):
            self.seen.append(f"{event} {arguments!r}")
        elif event == "open" and (self.writes(arguments) or "secret" in str(arguments[0])):
            self.look(event, arguments[0])
        elif event in (
            "os.rename",
            "os.remove",
            "os.rmdir",
            "os.mkdir",
            "os.link",
            "os.symlink",
            "os.truncate",
            "os.chmod",
        ):
            for path in arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]:
                self.look(event, path)

    @staticmethod
    def writes(arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        if isinstance(mode, str):
            return any(letter in mode for letter in "wax+")
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def look(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        place = Path(os.path.abspath(os.fsdecode(path)))
        if place == Path("/dev/null") or "__pycache__" in place.parts:
            return
        if not any(folder in place.parents or folder == place for folder in self.inside):
            self.seen.append(f"{event} {place}")

    @contextmanager
    def over(self, *inside: Path) -> Iterator[list[str]]:
        """Collects what happens outside of some folders."""
        self.inside, self.seen = tuple(folder.resolve() for folder in inside), []
        self.on = True
        try:
            yield self.seen
        finally:
            self.on = False


class Call:
    """What pickle makes into a call of a function when it reads it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.parts


class Remembered(dict):
    """A mapping whose state is set by a call."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (), None, None, iter([("network", self.call)]))


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def zipped(content: bytes) -> bytes:
    """A file such as torch writes, around a pickle of one's own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def bombs(canary: Path) -> dict[str, bytes]:
    """Files that make the file `canary` if they are read without care; all of them if read as pickles are."""
    command = f"touch {canary}"
    touch = Call(os.system, command)
    code = f"open({str(canary)!r}, 'w').close()"
    other = str(canary.parent / "other.pt")
    by_hand = b"cposix\nsystem\n(V" + command.encode() + b"\ntR."
    return {
        "a mapping with a call": saved({"network": touch, "epoch": 1}),
        "a pickle": pickle.dumps(touch),
        "an old pickle written by hand": by_hand,
        "a zip with a pickle written by hand": zipped(by_hand),
        "deep inside": saved({"network": {"0.weight": [torch.zeros(2), ({"x": [touch]},)]}}),
        "eval": saved({"epoch": Call(eval, code)}),
        "exec": saved([Call(exec, code)]),
        "subprocess": saved({"epoch": Call(subprocess.call, ["touch", str(canary)])}),
        "items of a mapping": saved(Remembered(touch)),
        "the older format of torch": saved({"network": touch}, _use_new_zipfile_serialization=False),
        "a pickle within a pickle": saved({"epoch": Call(pickle.loads, pickle.dumps(touch))}),
        "torch.hub": saved({"epoch": Call(torch.hub.load, str(canary.parent / "hub"), "go", "local")}),
        "torch.load of another": saved({"epoch": Call(partial(torch.load, weights_only=False), other)}),
        "import": saved({"epoch": Call(__import__, "malice_of_a_stranger")}),
    }


def monsters() -> dict[str, bytes]:
    """Files that would fill the memory or never end, and formats of torch that ch12 does not write."""
    laughs: Any = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    endless: list[Any] = []
    endless.append(endless)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 10**7)
    module = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # torch would rather not be asked for it any more
        torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), module)
    return {
        "a list of lists": saved({"network": laughs}),
        "a list in itself": saved({"network": endless}),
        "a deep list": saved({"network": json.loads("[" * 300 + "]" * 300)}),
        "a tensor of one number shown 10**12 times": saved({"network": {"w": torch.zeros(1).expand(10**6, 10**6)}}),
        "a packed file": packed.getvalue(),
        "a sparse tensor": saved({"network": {"w": torch.eye(3).to_sparse()}, "fingerprint": "x"}),
        "a tensor without memory": saved({"network": {"w": torch.zeros(3, device="meta")}, "fingerprint": "x"}),
        "a script": module.getvalue(),
        "a list": saved([1, 2, 3]),
        "a number": saved(7),
        "no seal": saved({"network": {}}),
        "text": b"hello\n",
        "nothing": b"",
    }


def nested(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {}
    for _ in range(depth):
        node = {"deeper": node}
    return node


# Dotted key (group:… for the choice of a group), and what a stranger writes there.
HOSTILE: dict[str, tuple[str, Any]] = {
    "os.system": ("model._target_", "os.system"),
    "logging.os.system": ("model._target_", "logging.os.system"),
    "torch.hub.load": ("model._target_", "torch.hub.load"),
    "torch.load": ("dataset._target_", "torch.load"),
    "builtins.eval": ("dataset._target_", "builtins.eval"),
    "builtins.exec": ("loss._target_", "builtins.exec"),
    "subprocess.run": ("scheduler._target_", "subprocess.run"),
    "pathlib.Path.unlink": ("dataset._target_", "pathlib.Path.unlink"),
    "a stranger's module": ("model._target_", "malice_of_a_stranger.Net"),
    "a method of Module": ("activation._target_", "torch.nn.Module.__init__"),
    "Module itself": ("activation._target_", "torch.nn.Module"),
    "a path into torch": ("activation._target_", "torch.nn.modules.module.Module"),
    "torch's os": ("activation._target_", "torch.nn.modules.module.os.system"),
    "a function of torch": ("activation._target_", "torch.nn.functional.relu"),
    "no activation": ("activation._target_", "torch.nn.Sequential"),
    "no module": ("activation._target_", "torch.nn.Parameter"),
    "a loader of code": ("activation._target_", "torch.jit.load"),
    "no loss": ("loss._target_", "torch.nn.ReLU"),
    "a line break behind": ("activation._target_", "torch.nn.ReLU\n"),
    "letters that look alike": ("activation._target_", "tоrch.nn.ReLU"),
    "no optimiser": ("optimizer._target_", "torch.optim.lr_scheduler"),
    "a module of torch.optim": ("optimizer._target_", "torch.optim.sgd.torch.hub.load"),
    "the optimisers' base": ("optimizer._target_", "torch.optim.Optimizer"),
    "ch12's file writer": ("dataset._target_", "ch12cli.files.atomic.write_whole"),
    "ch12's reader": ("dataset._target_", "ch12cli.data.new_rows.read_content"),
    "ch12's command line": ("scheduler._target_", "ch12cli.cli.main.main"),
    "ch12's own pathlib": ("dataset._target_", "ch12cli.data.flowers.Path"),
    "a builder's globals": ("dataset._target_", "ch12cli.data.iris.__globals__"),
    "the schedules' base": ("scheduler._target_", "ch12cli.training.schedules.Schedule"),
    "an error as a schedule": ("scheduler._target_", "ch12cli.training.schedules.InputError"),
    "hydra.utils.call": ("scheduler._target_", "hydra.utils.call"),
    "no text as target": ("model._target_", ["os.system"]),
    "no target": ("model._target_", None),
    "hydra's callbacks": ("hydra", {"callbacks": {"x": {"_target_": "os.system", "command": "touch CANARY"}}}),
    "hydra's logging": ("hydra", {"job_logging": {"version": 1, "handlers": {"x": {"()": "os.system"}}}}),
    "a target in a value": ("model.width", {"_target_": "os.system", "command": "touch CANARY"}),
    "a target in a list": ("optimizer.betas", [{"_target_": "os.system", "_args_": ["touch CANARY"]}, 0.9]),
    "a target in the data": ("dataset.seed", {"_target_": "os.getpid"}),
    "a target in the deep": ("model.more", {"a": [{"b": {"_target_": "os.system"}}]}),
    "_args_": ("model._args_", ["touch CANARY"]),
    "_partial_": ("activation._partial_", {"_target_": "os.getpid"}),
    "_recursive_": ("optimizer._recursive_", [{"_target_": "os.getpid"}]),
    "the environment": ("optimizer.lr", "${oc.env:CH12_SECRET}"),
    "the environment in a target": ("model._target_", "${oc.env:CH12_SECRET}"),
    "the environment in a key of one's own": ("model.more", "${oc.env:CH12_SECRET}"),
    "the environment, nested": ("monitor", "${${epochs}:CH12_SECRET}"),
    "a resolver": ("optimizer.betas", "${oc.decode:'[0.9,0.9]'}"),
    "a path that climbs out": ("dataset.file", "../../../secret"),
    "a path as a choice": ("group:dataset", "../../../secret"),
    "a choice that is no name": ("group:model", {"a": 1}),
    "a width out of bounds": ("model.width", 10**30),
    "a width beyond memory": ("model.width", 10**6),
    "a depth beyond memory": ("model.depth", 1000),
    "an infinite rate": ("optimizer.lr", float("inf")),
    "no number": ("optimizer.lr", float("nan")),
    "a number of 4,000 digits": ("seed", int("9" * 4000)),
    "as many processes": ("workers", 10**9),
    "as many threads": ("threads", 10**9),
    "an endless stream": ("stream_offset", 10**18),
    "an endless run": ("epochs", 10**12),
    "a device of one's own": ("device", "cuda:0; touch CANARY"),
    "a deep mapping": ("model.more", nested(300)),
    "a mapping too deep": ("model.more", nested(900)),
    "a list for a group": ("optimizer", ["torch.optim.Adam"]),
    "nothing for a group": ("scheduler", None),
    "text for a group": ("model", "ch12cli.models.mlp"),
    "a mapping for a number": ("epochs", {"a": 1}),
    "an argument of one's own": ("activation.fn", "os.system"),
    "activation as an argument": ("model.activation", "os.system"),
    "sizes as arguments": ("model.inputs", 10**9),
}


def written_into(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of settings with a dotted key set, whatever stood there."""
    copy = json.loads(json.dumps(settings))
    *heads, last = key.split(".")
    node = copy
    for name in heads:
        node = node[name]
    node[last] = value
    return copy
