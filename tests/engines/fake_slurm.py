"""Stands in for sbatch, scontrol and scancel: starts the jobs of an array as processes of this machine.

While there is a file `hold`, the jobs that are submitted wait. One that is cancelled then has never begun.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]
STATE = Path(os.environ["FAKE_SLURM"])  # a file for each job of an array: ARRAY_INDEX with its process, or its state
FILES = sorted(STATE.glob("[0-9]*_*"))


def state_in(content: str) -> str:
    if content.isdigit():
        return "RUNNING" if Path("/proc", content).exists() else "COMPLETED"
    return content


if NAME == "sbatch" and "--test-only" in WORDS:
    if "--partition=cpu" in WORDS or "--cpus-per-task=99" in WORDS:
        sys.exit("allocation failure: Requested node configuration is not available")
elif NAME == "sbatch":
    script, line = sys.stdin.read(), " ".join(WORDS)
    last, array = int(re.search(r"--array=0-(\d+)", line)[1]), f"{7 + len(FILES)}"
    (STATE / "sbatch.txt").write_text(line + "\n" + script)
    (STATE / f"script-{array}").write_text(script)
    (STATE / f"script-{array}").chmod(0o755)
    for index in range(last + 1):
        if (STATE / "hold").exists():
            (STATE / f"{array}_{index}").write_text("PENDING")
            continue
        names = {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": str(index)}
        process = subprocess.Popen([STATE / f"script-{array}"], env={**os.environ, **names}, start_new_session=True)
        (STATE / f"{array}_{index}").write_text(str(process.pid))
    print(array)
elif NAME == "scontrol" and WORDS[:2] == ["show", "config"]:
    print("MaxArraySize            = 1001")
elif NAME == "scontrol" and WORDS[0] == "show":
    for file in FILES:
        own, number = file.name.split("_")
        state = state_in(file.read_text())
        reason = "Resources" if state == "PENDING" else "None"
        if own == WORDS[-1]:
            print(f"JobId={own} ArrayJobId={own} ArrayTaskId={number} JobState={state} Reason={reason}")
elif NAME == "scancel":
    for file in [file for file in FILES if {file.name, file.name.split("_")[0]} & set(WORDS)]:
        match state_in(content := file.read_text()):
            case "RUNNING":
                os.kill(int(content), signal.SIGTERM)
            case "PENDING":
                file.write_text("CANCELLED")
