"""What Slurm says of the jobs of a submission. It needs scontrol, and neither accounting nor a Python package."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from ch12cli.errors import MachineError, os_problem
from ch12cli.files.cluster.bundle_json import Submission

LARGEST_ARRAY = 1000  # indices of an array, where Slurm does not say MaxArraySize
WAITS = 60.0  # seconds for an answer of Slurm
UNFINISHED = {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SUSPENDED"}
HELD = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"}
FIELD = re.compile(r"(\w+)=(\S*)")


class TaskState(NamedTuple):
    """What an engine says of a task: its state, why it waits, such as Resources, and whether nothing will start it."""

    name: str
    reason: str = ""
    has_ended: bool = False

    @property
    def is_held(self) -> bool:
        """Whether Slurm will start it."""
        return self.name in HELD and not self.has_ended


GONE = TaskState("no longer known to Slurm", has_ended=True)


def job_states(submission: Submission) -> dict[int, TaskState]:
    """Returns the states of a submission's jobs, by bundle, with GONE for those that Slurm has forgotten.

    Empty if Slurm does not answer: a controller that restarts has lost nothing.
    """
    states = dict.fromkeys(submission.bundles, GONE)
    for array, first in arrays(submission):
        done = ask(["scontrol", "show", "job", "-o", array])
        if done.returncode and "Invalid job id" not in done.stderr:
            return {}
        states |= {first + index: state for index, state in states_in(done.stdout).items()}
    return states


def states_in(text: str) -> dict[int, TaskState]:
    """Returns the states of an array's jobs by index, from what `scontrol show job -o` prints.

    Jobs that have not begun are one line together: ArrayTaskId=3-17%16. Slurm holds for ever what no node could launch.
    """
    found: dict[int, TaskState] = {}
    for line in text.splitlines():
        fields: dict[str, str] = dict(FIELD.findall(line))
        name, reason = fields.get("JobState", ""), fields.get("Reason", "")
        state = TaskState(name, reason, name not in UNFINISHED or reason.startswith("launch_failed"))
        for piece in fields.get("ArrayTaskId", "0").partition("%")[0].split(","):
            begin, _, end = piece.partition("-")
            if begin.isdigit():
                found |= dict.fromkeys(range(int(begin), int(end or begin) + 1), state)
    return found


def arrays(submission: Submission) -> list[tuple[str, int]]:
    """Returns the ids of a submission's arrays, each with the number of its first bundle."""
    identifiers = submission.id.split(",")
    size = largest_array() if len(identifiers) > 1 else 0
    return [(array, submission.first + index * size) for index, array in enumerate(identifiers)]


def largest_array() -> int:
    """Returns how many jobs an array may have: Slurm's MaxArraySize is one more than the largest index."""
    done = ask(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE) if not done.returncode else None
    return max(1, int(found[1]) - 1) if found else LARGEST_ARRAY


def can_ask() -> bool:
    return shutil.which("scontrol") is not None


def ask(line: Sequence[str], *, script: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs a command of Slurm. Raises MachineError if it does not answer."""
    try:
        return subprocess.run(line, input=script, capture_output=True, text=True, timeout=WAITS, check=False)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{line[0]} did not answer within {WAITS:.0f} seconds") from error
    except OSError as error:
        raise os_problem(f"cannot run {line[0]}", error) from error
