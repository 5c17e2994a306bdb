"""A Slurm of several emulated nodes on this machine, on loopback, without systemd. It needs root and Debian's packages.

Debian's slurmd is built for several nodes on one host, so that a test can take one of them away.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
SlurmdTimeout=10
MaxArraySize={array}
SchedulerParameters=sched_interval=1,bf_interval=1
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Returns why there can be no cluster here; empty if there can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{absent[0]} is not installed: make test-cluster installs it"
    return "" if os.geteuid() == 0 else "it needs root"


class SlurmCluster:
    """A cluster whose files are in a folder. nodes: how many; cores: of each; array: its MaxArraySize."""

    def __init__(self, folder: Path, *, nodes: int = 3, cores: int = 1, array: int = 1001) -> None:
        self.frozen: list[int] = []
        self.folder, self.names = folder, [f"n{index + 1}" for index in range(nodes)]
        host = socket.gethostname().partition(".")[0]
        port = free_ports(1 + nodes)  # of the controller, then of each node: another cluster may run on this machine
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + 1 + index}"
            f" CPUs={cores} RealMemory=4000"
            for index, name in enumerate(self.names)
        ]
        self.configuration = folder / "slurm.conf"
        text = CONFIGURATION.format(host=host, port=port, folder=folder, nodes="\n".join(lines), array=array)
        self.configuration.write_text(text, encoding="utf-8")
        os.environ["SLURM_CONF"] = str(self.configuration)
        (folder / "state").mkdir()

    def start(self) -> None:
        start_munge()
        self.start_controller(fresh=True)
        for name in self.names:
            self.start_node(name)
        self.wait_until_idle()

    def start_controller(self, *, fresh: bool = False) -> None:
        subprocess.run(["slurmctld", *(["-c"] if fresh else [])], check=True)

    def start_node(self, name: str) -> None:
        (self.folder / f"spool-{name}").mkdir(exist_ok=True)
        subprocess.run(["slurmd", "-N", name], check=True)

    def wait_until_idle(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            done = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True, check=False)
            if done.stdout.split().count("idle") >= 2 * len(self.names):  # a line for each partition
                return
            time.sleep(0.2)
        raise RuntimeError(f"the nodes are not idle: {done.stdout}{done.stderr}")

    def kill(self, name: str) -> None:
        """Takes the controller or a node away, with all that runs there, as a power failure would."""
        file = self.folder / (f"{name}.pid" if name == "slurmctld" else f"slurmd-{name}.pid")
        process = int(file.read_text())
        below = descendants(process) if name == "slurmctld" else [*descendants(process), *steps_of(name)]
        for each in (process, *below):
            end(each)

    def stop_controller(self) -> None:
        """Ends the controller as a restart of its service does: it saves its state."""
        process = int((self.folder / "slurmctld.pid").read_text())
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while is_running(process) and time.monotonic() < deadline:
            time.sleep(0.1)

    def freeze(self, name: str) -> list[int]:
        """Cuts a node off: nothing on it goes on, and the controller will miss it. Returns what was stopped."""
        process = int((self.folder / f"slurmd-{name}.pid").read_text())
        steps = steps_of(name)
        self.frozen = [process, *descendants(process), *steps]
        for each in self.frozen:
            os.kill(each, signal.SIGSTOP)
        return [each for each in steps if b"ch12cli" in processes().get(each, (0, b""))[1]]

    def thaw(self, stopped: list[int]) -> None:
        """Lets what `freeze` stopped go on, and the node's daemon after it has ended."""
        for each in stopped:
            os.kill(each, signal.SIGCONT)

    def clear(self) -> None:
        """Ends all jobs, and takes back the nodes that are away, or that the controller gave up."""
        subprocess.run(["scancel", "--user=root"], check=False)
        frozen, self.frozen = [each for each in self.frozen if is_frozen(each)], []
        while any(map(is_running, frozen)):
            for each in frozen:
                end(each)
            time.sleep(0.1)
        for name in self.names:
            process = int((self.folder / f"slurmd-{name}.pid").read_text())
            if is_running(process):
                continue
            self.kill(name)
            self.start_node(name)
        deadline = time.monotonic() + 30
        while subprocess.run(["squeue", "-h"], capture_output=True, check=False).stdout and time.monotonic() < deadline:
            time.sleep(0.2)
        for name in self.names:
            subprocess.run(["scontrol", "update", f"nodename={name}", "state=resume"], check=False, capture_output=True)
        self.wait_until_idle()

    def stop(self) -> None:
        for name in ("slurmctld", *self.names):
            if (self.folder / (f"{name}.pid" if name == "slurmctld" else f"slurmd-{name}.pid")).exists():
                self.kill(name)


def free_ports(count: int) -> int:
    """Returns the first of so many ports in a row that are free, below those that the system gives out by itself."""
    for first in random.sample(range(10_000, 30_000, count), 200):
        with ExitStack() as taken:
            try:
                for port in range(first, first + count):
                    taken.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise RuntimeError(f"no {count} ports in a row are free")


def start_munge() -> None:
    """Starts the daemon that authenticates Slurm's messages, unless it runs."""
    if subprocess.run(["pgrep", "-x", "munged"], capture_output=True, check=False).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        Path("/run/munge").chmod(0o755)
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True)


def processes() -> dict[int, tuple[int, bytes]]:
    """Returns the parent and the command line of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(path.name)] = parent, (path / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
    return found


def descendants(process: int) -> list[int]:
    known = processes()
    found, waiting = [], [process]
    while waiting:
        above = waiting.pop()
        below = [each for each, (parent, _) in known.items() if parent == above]
        found += below
        waiting += below
    return found


def steps_of(name: str) -> list[int]:
    """Returns the processes of the job steps on a node, which are no children of its slurmd."""
    found = []
    for process, (_, _) in processes().items():
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes()
        except OSError:
            continue
        if f"SLURMD_NODENAME={name}".encode() in environment.split(b"\0"):
            parent = processes().get(process, (0, b""))[0]
            above = processes().get(parent, (0, b""))[1]
            found += [process, *([parent] if b"slurmstepd" in above else [])]
    return found


def is_running(process: int) -> bool:
    return not has_state(process, "Z") and Path(f"/proc/{process}").exists()


def is_frozen(process: int) -> bool:
    return has_state(process, "T")


def has_state(process: int, letter: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == letter
    except OSError:
        return False


def end(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
