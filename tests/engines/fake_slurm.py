"""Stands in for sbatch, scontrol and scancel: starts the jobs of an array as processes of this machine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]
STATE = Path(os.environ["FAKE_SLURM"])  # a file for each job of an array: ARRAY_INDEX with its process
FILES = sorted(STATE.glob("[0-9]*_*"))

if NAME == "sbatch":
    script, line = sys.stdin.read(), " ".join(WORDS)
    last, array = int(re.search(r"--array=0-(\d+)", line)[1]), f"{7 + len(FILES)}"
    (STATE / "sbatch.txt").write_text(line + "\n" + script)
    for index in range(last + 1):
        names = {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": str(index)}
        process = subprocess.Popen(["sh", "-c", script], env={**os.environ, **names}, start_new_session=True)
        (STATE / f"{array}_{index}").write_text(str(process.pid))
    print(array)
elif NAME == "scontrol" and WORDS[:2] == ["show", "config"]:
    print("MaxArraySize            = 1001")
elif NAME == "scontrol" and WORDS[0] == "show":
    for file in FILES:
        own, number = file.name.split("_")
        state = "RUNNING" if Path("/proc", file.read_text()).exists() else "COMPLETED"
        if own == WORDS[-1]:
            print(f"JobId={own} ArrayJobId={own} ArrayTaskId={number} JobState={state}")
elif NAME == "scancel":
    for file in FILES:
        if {file.name, file.name.split("_")[0]} & set(WORDS) and Path("/proc", file.read_text()).exists():
            os.kill(int(file.read_text()), signal.SIGTERM)
