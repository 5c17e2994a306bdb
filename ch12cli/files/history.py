"""The history of a run: the sessions after the first, with the settings and environment that changed.

A history is a mapping. `parent` is the first session of a fork; `resumed` is a list of later sessions, in order.
`ancestry` has what a run of a population went on from: after an `epoch` from `job`, another one of its sweep, with
`changes` of the settings that the other had `before`. It may come from an untrusted file: entries of the wrong form are
ignored.
"""

from collections.abc import Mapping
from typing import Any

ENVIRONMENT = ("ch12", "git", "python", "torch", "numpy", "platform", "machine", "device", "threads")


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns the differences between two environments, such as `torch 2.13.0 -> 2.14.0`.

    Compares only the keys that both have.
    """
    return [
        f"{name} {before[name]} -> {now[name]}"
        for name in ENVIRONMENT
        if name in before and name in now and before[name] != now[name]
    ]


def resumed(history: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the history with one more session."""
    return {**history, "resumed": [*sessions_in(history, "resumed"), dict(session)]}


def forked(history: Mapping[str, Any], session: Mapping[str, Any], *, parent: str) -> dict[str, Any]:
    """Returns the history of a fork. history: its parent's; session: the fork's first session; parent: a directory."""
    earlier = [{name: value for name, value in each.items() if name != "earlier"} for each in sessions_of(history)]
    return {"parent": {"directory": parent, **session, **({"earlier": earlier} if earlier else {})}}


def sessions_of(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns all sessions but the first, starting with the first ancestor's. Sessions of forks have a `directory`."""
    parent = history.get("parent")
    forks = [*sessions_in(parent, "earlier"), parent] if isinstance(parent, Mapping) else []
    return [*forks, *sessions_in(history, "resumed")]


def sessions_in(history: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Returns the sessions in one list of a history."""
    found = history.get(name)
    return [session for session in found if isinstance(session, Mapping)] if isinstance(found, list) else []


def changes_in(session: Mapping[str, Any], name: str = "changes") -> dict[str, Any]:
    """Returns the settings changed in a session; with name="before", their earlier values."""
    changes = session.get(name)
    return {str(key): value for key, value in changes.items()} if isinstance(changes, Mapping) else {}


def ancestry_of(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns what a run of a population went on from, in order of the epochs."""
    return sessions_in(history, "ancestry")


def describe_ancestor(step: Mapping[str, Any]) -> str:
    """Returns a description of a step of an ancestry: `until epoch 5 it was job 3, with optimizer.lr=0.1`."""
    numbers = ", ".join(f"{key}={value}" for key, value in changes_in(step, "before").items())
    return f"until epoch {step.get('epoch')} it was job {step.get('job')}, with {numbers}"


def describe_ancestry(history: Mapping[str, Any]) -> list[str]:
    """Returns a line for each run that a run of a population went on from, and one for its own numbers."""
    steps = ancestry_of(history)
    own = ", ".join(f"{key}={value}" for key, value in changes_in(steps[-1]).items()) if steps else ""
    return [*map(describe_ancestor, steps), *([f"then it was itself, with {own}"] if steps else [])]


def ancestry_in_short(history: Mapping[str, Any]) -> str | None:
    """Returns an ancestry as a column of sweep.csv has it: `3@5 7@10`, job 3 until epoch 5 and job 7 until epoch 10."""
    return " ".join(f"{step.get('job')}@{step.get('epoch')}" for step in ancestry_of(history)) or None


def describe_session(session: Mapping[str, Any]) -> str:
    """Returns a description of a session, with the settings that it changed."""
    parent, changes = session.get("directory"), changes_in(session)
    event = f"continues from {parent}" if parent else "was resumed"
    listing = ", ".join(f"{key}={value}" for key, value in changes.items())
    return f"{event} after epoch {session.get('epoch')}" + (f" with {listing}" if changes else "")
