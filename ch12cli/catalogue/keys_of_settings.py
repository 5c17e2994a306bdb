"""Which overrides of a job are part of its setting: not its seeds and folds, nor how its sweep compares its runs."""

from collections.abc import Iterable

SEED = "seed"  # the key in which most jobs of large sweeps differ, and often in it alone
FOLD = "dataset.fold"  # the key that says which fold of a cross-validation is validated on
NOT_ITS_OWN = ("sweep.halving", "sweep.pbt")  # overrides of a sweep's jobs that are no part of a setting


def is_repetition(key: str) -> bool:
    """Returns whether a key is a seed or a fold, which repeats what is trained in place of changing it."""
    return key.endswith("seed") or key == FOLD


def repetitions_in_words(keys: Iterable[str]) -> str:
    """Returns what the runs are averaged over: `seeds`, `folds`, or `seeds and folds`; empty for none of them."""
    repeated = [key for key in keys if is_repetition(key)]
    words = {"seeds": any(key != FOLD for key in repeated), "folds": FOLD in repeated}
    return " and ".join(word for word, occurs in words.items() if occurs)
