"""Stands in for sbatch, scontrol and scancel: starts the jobs of an array as processes of this machine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]
STATE = Path(os.environ["FAKE_SLURM"])  # a file for each job: its process

if NAME == "sbatch":
    script, line = sys.stdin.read(), " ".join(WORDS)
    last = int(re.search(r"--array=0-(\d+)", line)[1])
    (STATE / "sbatch.txt").write_text(line + "\n" + script)
    for index in range(last + 1):
        names = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index)}
        process = subprocess.Popen(["sh", "-c", script], env={**os.environ, **names}, start_new_session=True)
        (STATE / str(index)).write_text(str(process.pid))
    print("7")
elif NAME == "scontrol" and WORDS[:2] == ["show", "config"]:
    print("MaxArraySize            = 1001")
elif NAME == "scontrol" and WORDS[0] == "show":
    for file in STATE.glob("[0-9]*"):
        alive = Path("/proc", file.read_text()).exists()
        print(f"JobId=7 ArrayJobId=7 ArrayTaskId={file.name} JobState={'RUNNING' if alive else 'COMPLETED'}")
elif NAME == "scancel":
    for file in STATE.glob("[0-9]*"):
        if Path("/proc", file.read_text()).exists():
            os.kill(int(file.read_text()), signal.SIGTERM)
