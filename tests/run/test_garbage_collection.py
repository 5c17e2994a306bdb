"""The garbage collector leaves alone what was there before training, and collects as usual what comes then."""

import subprocess
import sys

CODE = """
import gc
from ch12cli.run import garbage_collection as collector
usual, frozen_by_python = gc.get_threshold(), gc.get_freeze_count()
collector.freeze_objects()  # where ch12 is part of another program
assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, frozen_by_python)
collector.start()
assert gc.get_threshold() > usual
collector.freeze_objects()
assert gc.get_threshold() == usual
frozen = gc.get_freeze_count()
assert frozen > frozen_by_python + 1000
there = [[]]
collector.freeze_objects()
assert gc.get_freeze_count() == frozen
with collector.usual_collections():
    assert gc.get_threshold() == usual
collector.start()
collector.freeze_objects(keeps=True)
rare = gc.get_threshold()
assert usual < rare
for _ in range(2):  # in a sweep, each batch freezes what the one before has left
    before = gc.get_freeze_count()
    there.append([[]])
    collector.freeze_objects(keeps=True)
    assert gc.get_freeze_count() > before
with collector.usual_collections():
    assert gc.get_threshold() == usual
assert gc.get_threshold() == rare
"""


def test_objects_are_frozen_once_and_only_by_the_program_itself() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
