"""Which places of this machine the nodes of a cluster seem not to see: those on disks of its own."""

import platform
import re
from collections.abc import Mapping
from pathlib import Path

MOUNTS = Path("/proc/mounts")  # on Linux; a line is DEVICE FOLDER TYPE OPTIONS 0 0
OF_ONE_MACHINE = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
ESCAPED = re.compile(r"\\([0-7]{3})")  # a space in the name of a folder, as /proc/mounts writes it
NODE = re.compile(r"NodeHostName=(\S+)")


def has_other_machines(nodes: str) -> bool:
    """Returns whether a cluster has other machines than this one. nodes: what `scontrol show node -o` prints."""
    here = platform.node().partition(".")[0]
    return any(name.partition(".")[0] != here for name in NODE.findall(nodes))


def local_places(places: Mapping[str, Path]) -> list[str]:
    """Returns a sentence about each place that lies on a disk of this machine. places: by what they hold."""
    found: dict[tuple[Path, str], list[str]] = {}
    for what, path in places.items():
        folder, kind = mount_of(path)
        if kind in OF_ONE_MACHINE:
            found.setdefault((folder, kind), []).append(f"{what} ({path})")
    rule = "which the nodes see only if it is exported to them"
    return [
        f"{', '.join(names)}: on {folder}, a disk of this machine ({kind}), {rule}"
        for (folder, kind), names in found.items()
    ]


def mount_of(path: Path) -> tuple[Path, str]:
    """Returns the folder on which the disk of a path is mounted, and the type of its file system; "" if unknown."""
    try:
        lines = [line.split() for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return path, ""
    mounts = {ESCAPED.sub(lambda match: chr(int(match[1], 8)), line[1]): line[2] for line in lines if len(line) > 2}
    resolved = path.absolute().resolve()
    folder = next((each for each in (resolved, *resolved.parents) if str(each) in mounts), path)
    return folder, mounts.get(str(folder), "")
