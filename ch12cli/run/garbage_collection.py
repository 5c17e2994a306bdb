"""Python's garbage collector, kept away from what a program imports and composes before it trains: all of that stays.

Going through it again and again takes a fifteenth of the time of a short run.
"""

import gc

USUAL = gc.get_threshold()
STARTING = (100_000, 20, 100)


def start() -> None:
    """For the program's beginning: it is collected seldom until `settle`."""
    gc.set_threshold(*STARTING)


def freeze_objects() -> None:
    """Before training: what there is by now is never looked through again, nor copied by the processes that are forked;
    what comes is collected as usual. Nothing where ch12 is part of another program."""
    if gc.get_threshold() == STARTING:
        gc.freeze()
        gc.set_threshold(*USUAL)
