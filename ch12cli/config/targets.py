"""From `_target_` and its arguments to an object: found, its signature checked, called."""

import ast
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ch12cli
from ch12cli.config.schema import INSTANTIATION
from ch12cli.config.suggest import did_you_mean, suggestion
from ch12cli.errors import InputError, MachineError, Problem, describe_error, first_line


@dataclass(frozen=True)
class Target:
    """What a group of the configuration builds: an import path, and the arguments that are given for it.

    convert, recursive: what `_convert_` and `_recursive_` say of the arguments.
    """

    path: str
    arguments: Mapping[str, Any]
    positional: Sequence[Any] = ()
    convert: str = "all"
    recursive: bool = True

    @staticmethod
    def from_node(node: Mapping[str, Any]) -> "Target":
        """The target that a node of the configuration names with `_target_`."""
        return Target(
            str(node["_target_"]),
            {name: value for name, value in node.items() if name not in INSTANTIATION},
            tuple(node.get("_args_", ())),
            str(node.get("_convert_", "all")),
            bool(node.get("_recursive_", True)),
        )

    @property
    def name(self) -> str:
        """The name of the class or function, without its module."""
        return self.path.rpartition(".")[2]


class RefusedError(InputError):
    """A target raised when it was called."""


def locate(key: str, target: str) -> Callable[..., Any]:
    """The class or function that an import path names. InputError if there is none, or it cannot be called."""
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise InputError(f"{key}._target_={target}: must be an import path such as torch.nn.ReLU")
    found = _walk(key, target, parts)
    if not callable(found):
        raise InputError(f"{key}._target_={target}: is not a class or function, so nothing can be built from it")
    return found


def _walk(key: str, target: str, parts: list[str]) -> object:
    """Imports as many leading parts as are modules, then takes attributes."""
    found: Any = None
    for end, part in enumerate(parts, start=1):
        name = ".".join(parts[:end])
        if found is not None and hasattr(found, part):
            found = getattr(found, part)
            continue
        try:
            with current_directory_last():
                found = import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise InputError(f"{key}._target_={target}: importing it failed: {error}{place_of(error)}") from error
            raise InputError(f"{key}._target_={target}: {_not_there(found, parts[:end])}") from None
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{key}._target_={target}: importing it failed: {type(error).__name__}: {error}{place_of(error)}"
            ) from error
    return found


@contextmanager
def current_directory_last() -> Iterator[None]:
    """Lets Python find modules in the current directory too, as `python -m` does, but after everything installed."""
    here = os.getcwd()
    sys.path.append(here)
    try:
        yield
    finally:
        if here in sys.path:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(here)]


def _not_there(found: Any, parts: list[str]) -> str:
    """What is missing of an import path, and what may be meant. found: what all but the last part lead to."""
    if found is None:
        return f"there is no module {parts[0]}; start ch12 where it lies, or put its folder into PYTHONPATH"
    known = [name for name in dir(found) if not name.startswith("_")]
    hint = did_you_mean(parts[-1], known) or "; check the path and that it can be imported"
    return f"{'.'.join(parts[:-1])} has no {parts[-1]}{hint}"


def place_of(error: BaseException) -> str:
    """Where the user's code raised, as ` (file.py, line 3)`; empty where it is not the user's."""
    own = Path(ch12cli.__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    for frame in reversed(frames):
        file = Path(frame.filename)
        if own in file.parents:
            return ""
        if not any(part in ("site-packages", "dist-packages") or part.startswith("python3") for part in file.parts):
            return f" ({file.name}, line {frame.lineno})"
    return ""


def arguments_of(target: Target) -> dict[str, Any]:
    """The keyword arguments of a target, the targets among them built as Hydra builds them."""
    return {name: argument(value, target) for name, value in target.arguments.items()}


def positional_of(target: Target) -> list[Any]:
    """The positional arguments of a target, built likewise."""
    return [argument(value, target) for value in target.positional]


def argument(value: Any, target: Target) -> Any:
    """An argument as its target takes it. InputError if a target in it cannot be built.

    Plain lists and dicts unless `_convert_` says otherwise: Hydra's own default is `none`.
    """
    if not isinstance(value, Mapping | list):
        return value
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    convert, container = target.convert, OmegaConf.create({"value": value})
    if not (target.recursive and holds_target(value)):
        return container.value if convert == "none" else value
    try:
        with current_directory_last():
            return instantiate(container.value, _convert_=convert)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        raise RefusedError(f"{target.path}: an argument cannot be built: {describe_error(cause)}") from error


def holds_target(value: Any) -> bool:
    """True if there is a target anywhere in a value."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(holds_target, value.values()))
    return isinstance(value, list) and any(map(holds_target, value))


@lru_cache(maxsize=256)  # a sweep asks for each of its networks, and inspecting takes a third of building one
def parameters_of(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a function or class, by name; None if they cannot be told."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


def signature_problems(
    key: str, target: Callable[..., Any], given: Mapping[str, Any], offered: Mapping[str, Any], *, positional: int = 0
) -> list[Problem]:
    """What is wrong with a node's arguments for what it builds: unknown ones, and required ones that nobody gives.

    positional: how many arguments are given by position.
    """
    parameters = parameters_of(target)
    if parameters is None:
        return []
    kinds = inspect.Parameter
    takes_any = any(parameter.kind is kinds.VAR_KEYWORD for parameter in parameters.values())
    names = [name for name, p in parameters.items() if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)]
    listing = ", ".join(name for name in names if name not in offered) or "none"
    problems = [
        Problem(
            f"{key}.{name}",
            None,
            f"{_name(target)} has no such argument",
            suggestion(name, names) or f"it has {listing}",
        )
        for name in given
        if name not in names and not takes_any
    ]
    return problems + [
        Problem(f"{key}.{name}", None, f"{_name(target)} needs it", f"set it in the YAML file or with +{key}.{name}=…")
        for name, parameter in parameters.items()
        if name in names[positional:] and parameter.default is kinds.empty and name not in {**given, **offered}
    ]


def accepted(target: Callable[..., Any], offered: Mapping[str, Any], *, positional: int = 0) -> dict[str, Any]:
    """Those of the offered arguments that the target has by name and that are not given by position; all of them if it
    takes any."""
    parameters = parameters_of(target)
    if parameters is None:
        return {}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(offered)
    return {name: value for name, value in offered.items() if name in list(parameters)[positional:]}


def build(key: str, target: Target, *, offered: Mapping[str, Any] | None = None) -> Any:
    """Builds what a target of the configuration names. offered: arguments that are passed on if the class or function
    has them and the configuration does not give them. InputError for whatever it raises."""
    kind = locate(key, target.path)
    given, positional = arguments_of(target), positional_of(target)
    problems = signature_problems(key, kind, given, offered or {}, positional=len(positional))
    if problems:
        raise InputError(problems)
    found = accepted(kind, offered or {}, positional=len(positional))
    return call(key, kind, {**found, **given}, *positional)


def call(key: str, target: Callable[..., Any], arguments: Mapping[str, Any], *positional: Any) -> Any:
    """target(*positional, **arguments), what it raises turned into an InputError that names the key."""
    try:
        return target(*positional, **arguments)
    except (InputError, MachineError):
        raise
    except MemoryError as error:
        raise MachineError(f"{key}: not enough memory for {_name(target)}; make it smaller") from error
    except Exception as error:
        if "can't allocate memory" in str(error):  # torch's CPU allocator raises a RuntimeError
            raise MachineError(f"{key}: not enough memory for {_name(target)}; make it smaller") from error
        said = str(error) if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: {error}"
        raise RefusedError(f"{key}: {_name(target)} refused: {first_line(said)}{place_of(error)}") from error


def _name(target: Any) -> str:
    """The import path of a class or function, or of an object's class."""
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


# Where the classes of a package of torch's lie that choices name.
FILES = {"torch.optim": "optim/{}.py", "torch.nn": "nn/modules/activation.py"}


@cache
def arguments_in_source(target: str) -> tuple[str, ...] | None:
    """The names of a target's arguments; None if its source does not tell them. target: an import path."""
    package, _, name = target.rpartition(".")
    for file in files_of(package, name):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if getattr(node, "name", None) == name:
                return arguments_of_definition(node)
    return None


def files_of(package: str, name: str) -> Iterator[Path]:
    """The files in which a package's name may be defined."""
    root = package.partition(".")[0]
    spec = find_spec(root) if package in FILES or root == "ch12cli" else None
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    if package in FILES:
        yield folder / FILES[package].format(name.lower())
    else:
        yield from sorted(folder.joinpath(*package.split(".")[1:]).glob("*.py"))


def arguments_of_definition(node: ast.stmt) -> tuple[str, ...] | None:
    if isinstance(node, ast.ClassDef):
        methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
        return arguments_of_definition(methods[0]) if methods else None
    if not isinstance(node, ast.FunctionDef) or node.args.kwarg is not None:
        return None
    names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    return tuple(name for name in names if name not in ("self", "params"))
