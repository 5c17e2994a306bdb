"""Ensembles among saved runs: which commands take them, and what is said of those that do not."""

from collections.abc import Mapping
from typing import Any

from ch12cli.errors import InputError

# The commands that take an ensemble as they take a run: their options, with the values for which they do.
TAKEN_BY: Mapping[str, tuple[str, ...]] = {
    "predict": (),
    "eval": (),
    "report": (),
    "plot --kind": ("confusion", "residuals"),
    "export --format": ("onnx", "torch_export"),
}


def takers_in_words(quote: str = "", before: str = "") -> str:
    """Returns the commands that take an ensemble, as part of a sentence.

    quote: stands around each; before: stands before each within the quotes, such as `ch12 `.
    """
    named = []
    for command, values in TAKEN_BY.items():
        words = [f"{before}{command} {values[0]}", *values[1:]] if values else [f"{before}{command}"]
        named.append(" or ".join(f"{quote}{word}{quote}" for word in words))
    return f"{', '.join(named[:-1])}, and {named[-1]}"


def no_curve(name: str, metrics: Mapping[str, Any]) -> InputError:
    """Returns the refusal to draw the epochs of an ensemble. metrics: by part and name, such as test_accuracy."""
    names = {each.partition("_")[2] for each in metrics}
    kinds = [kind for kind, metric in (("confusion", "accuracy"), ("residuals", "mae")) if metric in names]
    kind = f"--kind {kinds[0]}" if kinds else "--kind confusion of classes, or --kind residuals of values"
    return InputError(f"{name}: is an ensemble, which has no epochs and so no curve; try {kind}")
