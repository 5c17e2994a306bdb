"""Compiles C to a library that is kept in the user's cache, and loads it."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ch12cli.data.streaming.cache_folder import cache_folder

# No -ffast-math: it would let NaN and infinity pass unnoticed. Products and sums are fused, and for some processors GCC
# needs the parameter to fuse them in loops, too: else a structure's own code would have other bits than the general.
# -O3 compiles for 1.8 s in place of 1.0 s, and the step is no faster.
FLAGS = (
    *("-O2", "-march=native", "-std=gnu11", "-ffp-contract=fast", "--param=avoid-fma-max-bits=0"),
    *("-fno-math-errno", "-fno-trapping-math", "-fPIC"),
)
SECONDS = 60  # after which compiling is given up


class CannotCompileError(Exception):
    """There is no library; the message says why."""


@cache
def compiler() -> str | None:
    """Returns the path of the system's C compiler; None if there is none."""
    return shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def version_of(path: str) -> str:
    """Returns what a compiler says about itself and the processor that `-march=native` stands for."""
    command = [path, "-march=native", "-###", "-E", "-x", "c", os.devnull]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotCompileError(f"{path}: {error}") from error
    return done.stderr


def library(source: str) -> ctypes.CDLL:
    """Returns the compiled source, from the cache if it is there. Raises CannotCompileError."""
    path = compiler()
    if path is None:
        raise CannotCompileError("there is no C compiler")
    key = library_key(source, path)
    try:
        folder = cache_folder("fused") / key
        return ctypes.CDLL(str(intact(folder) or compile_into(folder, source, path)))
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:  # RuntimeError: there is no home
        raise CannotCompileError(f"{getattr(error, 'strerror', None) or error}") from error


def is_cached(source: str) -> bool:
    """Returns whether the compiled source is in the cache. Raises CannotCompileError."""
    path = compiler()
    try:
        return path is not None and intact(cache_folder("fused") / library_key(source, path)) is not None
    except (OSError, RuntimeError):
        return False


def library_key(source: str, path: str) -> str:
    """Returns what a library is kept under: a digest of its source, of the compiler at this path and of the flags."""
    return hashlib.sha256("\0".join([source, version_of(path), *FLAGS]).encode()).hexdigest()


def intact(folder: Path) -> Path | None:
    """Returns the library in the folder of a key whose content has the checksum in its name; removes damaged ones.

    Loading a truncated library would end the process.
    """
    if not folder.exists():
        return None
    for name in os.listdir(folder):
        file = folder / name
        if name == name_of(file.read_bytes()):
            return file
        file.unlink(missing_ok=True)
    return None


def name_of(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:16]}.so"


def compile_into(target: Path, source: str, path: str) -> Path:
    """Writes a library into a folder, whole or not at all, and returns it: other processes may write the same one.

    Raises CannotCompileError, OSError, or subprocess.TimeoutExpired.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "made.so"
        command = [path, *FLAGS, "-shared", "-x", "c", "-", "-o", str(made), "-lm"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise CannotCompileError(f"{path}: {errors[0] if errors else f'exit code {done.returncode}'}")
        target.mkdir(exist_ok=True)
        return made.replace(target / name_of(made.read_bytes()))
