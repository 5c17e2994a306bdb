"""Finds the known names nearest to a mistyped one."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

# Names that others use for what ch12 calls otherwise. By their letters, some are nearer to what they do not mean.
OTHER_NAMES = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "metal": "mps",
    "mae": "l1",
    "l2": "mse",
    "smooth_l1": "huber",
    "ce": "cross_entropy",
    "bce_with_logits": "bce_logits",
    "swish": "silu",
    "plateau": "reduce_on_plateau",
    "glorot": "xavier",
    "he": "kaiming",
    "zscore": "standard",
    "fp32": "float32",
    "float": "float32",
    "fp64": "float64",
    "double": "float64",
    "bf16": "bfloat16",
    "auroc": "auc",
    "roc_auc": "auc",
    "tb": "tensorboard",
}
SHORTENED = 4  # letters of a beginning that may stand for a name


@lru_cache(maxsize=4096)  # the parts of dotted names recur often
def distance(a: str, b: str) -> int:
    """Returns the edit distance of a and b, counting insertions, deletions, substitutions and adjacent transpositions.

    It is the optimal string alignment distance (Damerau 1964), computed in time len(a) * len(b).
    """
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


def is_one_mistake(a: str, b: str) -> bool:
    """Returns True if distance(a, b) is 1, faster than by computing it.

    Without the common prefix and suffix, at most one letter of each, or two transposed letters, remain.
    """
    if abs(len(a) - len(b)) > 1:
        return False
    head = shared(a, b)
    tail = shared(a[head:][::-1], b[head:][::-1])
    a, b = a[head : len(a) - tail], b[head : len(b) - tail]
    return max(len(a), len(b)) == 1 or (len(a) == len(b) == 2 and a == b[::-1])


def shared(a: str, b: str) -> int:
    """Returns the length of the common prefix of a and b."""
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def tolerance(name: str) -> int:
    """Returns the largest edit distance at which a name is still recognised."""
    return max(1, len(name) // 3)


def mistakes(name: str, candidate: str) -> float | None:
    """Returns the distance of a name from a candidate, or None if it exceeds the tolerance.

    A name without a separator is compared with the candidate's last part, at a cost of 0.5.
    """
    if name == candidate or is_one_mistake(name, candidate):
        return float(name != candidate)
    separator = "/" if "/" in candidate else "."
    head, _, tail = name.rpartition(separator)
    other_head, _, other_tail = candidate.rpartition(separator)
    if abs(len(tail) - len(other_tail)) > tolerance(other_tail):
        return None
    by_tail = distance(tail, other_tail)
    by_head = distance(head, other_head) if head else 0.5
    if len(head) > 2 and other_head.startswith(head):
        by_head = min(by_head, 1)  # an abbreviated head, as in optim.lr
    if by_tail > tolerance(other_tail) or by_head > tolerance(other_head):
        return None
    return by_tail + by_head


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """Returns at most `most` known names nearest to `name`, best first.

    All are less than one mistake farther away than the best. Another name for a known one means that one alone, and the
    beginning of a few names means these.
    """
    folded, known = fold_name(name), list(known)
    meant = OTHER_NAMES.get(folded.partition(":")[0])  # gpu:0
    if meant in known and folded not in known:
        return [meant]
    begun = [candidate for candidate in dict.fromkeys(known) if fold_name(candidate).startswith(folded)]
    if len(folded) >= SHORTENED and 0 < len(begun) <= most and folded not in map(fold_name, begun):
        return begun
    scored = []
    for candidate in dict.fromkeys(known):
        score = mistakes(folded, fold_name(candidate))
        if score is not None:
            scored.append((score, -SequenceMatcher(None, folded, fold_name(candidate)).ratio(), candidate))
    best = min(scored)[0] if scored else 0.0
    return [candidate for score, _, candidate in sorted(scored)[:most] if score < best + 1]


def fold_name(name: str) -> str:
    """Returns a name in lower case with each - replaced by _, so that these differences do not count."""
    return name.lower().replace("-", "_")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns "did you mean `a` or `b`?" for the nearest names, or an empty string."""
    near = nearest(name, known)
    return f"did you mean {' or '.join(f'`{candidate}`' for candidate in near)}?" if near else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the suggestion as the end of a sentence, "; did you mean `a`?", or an empty string."""
    near = suggestion(name, known)
    return f"; {near}" if near else ""
