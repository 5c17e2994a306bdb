"""The demonstrations of each section."""

from collections.abc import Callable, Sequence

from ch12cli.book.demo import Demo
from ch12cli.book.networks import optimizers, softmax_twice, xor
from ch12cli.book.parallel import measure_parallel
from ch12cli.book.pipelines import workers
from ch12cli.book.slopes import activations, gradients


def parallel() -> Demo:
    """12.1: measures vectorised code against a Python loop on this machine."""
    lines, plot = measure_parallel()
    about = (
        "The same three computations as a loop in Python, by NumPy and by torch. What makes the difference is not the "
        "number of cores, but that one call handles all elements: vectorised code. More threads help where there is "
        "much to do for each number that is fetched, as in a matrix product."
    )
    return Demo("What parallel means, measured here", about, lines, [plot])


DEMOS: dict[str, Sequence[Callable[[], Demo]]] = {
    "12.1": (parallel,),
    "12.2": (workers,),
    "12.3": (xor, optimizers, softmax_twice),
    "12.4": (activations, gradients),
}
