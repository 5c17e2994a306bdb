"""Loads torch's libraries in a thread while many jobs are composed, because that takes long without Python's lock."""

import sys
from contextlib import suppress
from ctypes import CDLL, RTLD_GLOBAL
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

LIBRARIES = {"libtorch_global_deps.so": RTLD_GLOBAL, "libtorch_python.so": 0}  # in the order and way of torch itself


def load_torch_meanwhile() -> None:
    """Begins to load torch's libraries. Does nothing if torch is imported already."""
    spec = None if "torch" in sys.modules else find_spec("torch")
    if spec is not None and spec.origin is not None:
        Thread(target=load_libraries, args=(Path(spec.origin).parent / "lib",), daemon=True).start()


def load_libraries(folder: Path) -> None:
    with suppress(OSError):  # laid out in another way: left to torch
        for name, mode in LIBRARIES.items():
            CDLL(str(folder / name), mode=mode)
