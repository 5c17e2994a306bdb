"""ch12: an experiment runner for small neural networks, driven by Hydra configuration files.

In a notebook: `run = ch12cli.train("dataset=iris", "optimizer.lr=0.01")`; then `run.model`, `run.metrics`,
`run.directory`. `ch12cli.runs("outputs")` gives the runs there are as rows for a data frame.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ch12cli.notebook import Run, train

__all__ = ["Run", "train"]


def __dir__() -> list[str]:
    return [*globals(), *__all__, "runs"]


def __getattr__(name: str) -> Any:
    """What notebooks use, imported when it is used: the command line does not pay for it."""
    if name == "runs":
        return import_module("ch12cli.runs")
    if name in __all__:
        from ch12cli import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'ch12cli' has no attribute {name!r}")
