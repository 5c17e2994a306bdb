"""Ends a process without freeing its memory piece by piece. Wraps two private functions of Python that this needs."""

import atexit
import os
import sys
import sysconfig
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PACKAGE = Path(__file__).parents[2]  # the folder of ch12cli and hydra_plugins


def runs_code_of_others() -> bool:
    """Returns whether a module was imported that belongs neither to ch12 nor to Python's installed packages."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    known = tuple(f"{folder}{os.sep}" for folder in (*installed, PACKAGE / "ch12cli", PACKAGE / "hydra_plugins"))
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    del files["__main__"]  # the script `ch12`
    return any(
        file and not file.startswith(known) and not name.startswith("torch.")  # torch.ops has no path
        for name, file in files.items()
    )


def end_at_once(code: int) -> NoReturn:
    """Ends the process as `sys.exit` does, but leaves it to the operating system to free its memory.

    Python frees torch's objects one by one, which takes a tenth of a second. It would also close files that a module
    has left open: so call it only if all modules are known.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # `main` has reported it, or the stream is closed
            stream.flush()
    os._exit(code)
