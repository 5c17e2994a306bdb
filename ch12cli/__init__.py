"""ch12: an experiment runner for small neural networks, driven by Hydra configuration files.

In a notebook: `run = ch12cli.train("dataset=iris", "optimizer.lr=0.01")` trains a run; then `run.model`, `run.metrics`,
`run.predict("new.csv")`. `ch12cli.sweep("seed=range(100)")` trains many. `ch12cli.load_run(path)` is a saved run, and
`ch12cli.runs("outputs")` lists them as rows for a data frame.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ch12cli.api import Run, Sweep, load_run, runs, sweep, train

__all__ = ["Run", "Sweep", "load_run", "runs", "sweep", "train"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """A public name, imported at its first use, so that the command line does not pay for it."""
    if name not in __all__:
        raise AttributeError(f"module 'ch12cli' has no attribute {name!r}")
    from ch12cli import api

    return getattr(api, name)
