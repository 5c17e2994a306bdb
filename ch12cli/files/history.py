"""The sittings in which a run was trained: where it went on, what was changed there, and what was another by then.

A history is a mapping with `parent`, the first sitting of a fork, and `resumed`, the later ones, in order. It may come
from a stranger: what is not such as ch12 writes it counts as not there.
"""

from collections.abc import Mapping
from typing import Any

ENVIRONMENT = ("ch12", "git", "python", "torch", "numpy", "platform", "machine", "device", "threads")


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments, as `torch 2.13.0 -> 2.14.0`, of what both tell."""
    return [
        f"{name} {before[name]} -> {now[name]}"
        for name in ENVIRONMENT
        if name in before and name in now and before[name] != now[name]
    ]


def resumed(history: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    """The history of a run that goes on in another sitting."""
    return {**history, "resumed": [*sessions_in(history, "resumed"), dict(one)]}


def forked(history: Mapping[str, Any], one: Mapping[str, Any], *, parent: str) -> dict[str, Any]:
    """The history of a fork. history: its parent's; one: its first own sitting; parent: a directory."""
    earlier = [{name: value for name, value in each.items() if name != "earlier"} for each in sessions_of(history)]
    return {"parent": {"directory": parent, **one, **({"earlier": earlier} if earlier else {})}}


def sessions_of(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All sittings but the first, from the first ancestor's on; those of forks name their parent's directory."""
    parent = history.get("parent")
    forks = [*sessions_in(parent, "earlier"), parent] if isinstance(parent, Mapping) else []
    return [*forks, *sessions_in(history, "resumed")]


def sessions_in(history: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The sittings of a list in a history."""
    found = history.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def changes_in(one: Mapping[str, Any], name: str = "changes") -> dict[str, Any]:
    """What was changed in a sitting; with name="before", what it was until then."""
    changes = one.get(name)
    return {str(key): value for key, value in changes.items()} if isinstance(changes, Mapping) else {}


def describe_session(one: Mapping[str, Any]) -> str:
    """A sitting in words: as one run it is another if something changed there."""
    parent, changes = one.get("directory"), changes_in(one)
    what = f"goes on from {parent}" if parent else "was resumed"
    listing = ", ".join(f"{key}={value}" for key, value in changes.items())
    return f"{what} after epoch {one.get('epoch')}" + (f" with {listing}" if changes else "")
