"""The progress of a submitted sweep's stacks, from the journals of its bundles."""

import os
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.cluster.bundle_json import WORK, bundle_numbers, read_bundle
from ch12cli.files.cluster.journal import JournalReader
from ch12cli.files.unfinished.progress_json import ProgressFile, StackProgress, read_progress


def sweep_progress(sweep: Path) -> ProgressFile | None:
    """Returns the progress of a sweep: that of the process that follows it, or else of its bundles; None if unknown."""
    return read_progress(sweep) or (bundle_progress(sweep) if os.path.lexists(sweep / WORK) else None)


def bundle_progress(sweep: Path) -> ProgressFile | None:
    """Returns the progress of a sweep's bundles since the newest attempt at each began; None before the first."""
    stacks: dict[int, StackProgress] = {}
    times = []
    for number in bundle_numbers(sweep):
        try:
            items = {item.jobs[0]: item.jobs for item in read_bundle(sweep, number).items if item.jobs}
        except InputError:
            continue
        for event in JournalReader(sweep, number).read():
            job, epoch, written = event.get("of"), event.get("epoch"), event.get("time")
            if event["event"] == "begin" and isinstance(written, int | float):
                times.append(float(written))
            if event["event"] == "progress" and isinstance(job, int) and isinstance(epoch, int) and job in items:
                first = stacks[job].first if job in stacks else epoch - 1
                stacks[job] = StackProgress(items[job], first, epoch)
    return ProgressFile(min(times), tuple(stacks.values())) if times else None
