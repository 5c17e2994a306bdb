"""ch12: an experiment runner for small neural networks, driven by Hydra configuration files.

In a notebook: `run = ch12cli.train("dataset=iris", "optimizer.lr=0.01")`; then `run.model`, `run.metrics`,
`run.directory`. `ch12cli.runs("outputs")` gives the runs there are as rows for a data frame.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ch12cli.api import Run, runs, train

__all__ = ["Run", "runs", "train"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: the command line does not pay for it."""
    if name not in __all__:
        raise AttributeError(f"module 'ch12cli' has no attribute {name!r}")
    from ch12cli import api

    return getattr(api, name)
