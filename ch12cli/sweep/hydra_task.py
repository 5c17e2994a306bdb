"""One job of a sweep under another launcher than ours (basic, joblib, …): trained alone where Hydra says."""

import signal
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ch12cli.errors import InputError
from ch12cli.files.result_json import Result, write_result
from ch12cli.files.run_directory import CHECKPOINTS


def train_as_hydra_job(config: DictConfig) -> float:
    """The job's objective. What ends it is kept in its result.json, for the sweep's table."""
    from ch12cli.run.callbacks import NullCallback
    from ch12cli.run.signals import Terminated
    from ch12cli.run.torch_settings import torch_settings
    from ch12cli.run.trackers import with_trackers
    from ch12cli.run.train import prepare_job, train_job

    hydra: Any = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    settings: Any = OmegaConf.to_container(config, resolve=True)
    chosen = {str(group): choice for group, choice in hydra.runtime.choices.items()}
    try:
        with torch_settings(settings) as device:
            job = prepare_job(settings, chosen, device)
            (directory / CHECKPOINTS).mkdir(exist_ok=True)
            outcome = train_job(job, directory, with_trackers(NullCallback(), settings, chosen))
    except SystemExit as error:
        write_result(directory, Result(status="failed", epochs=0, error=f"it called sys.exit({error.code!r})"))
        raise InputError(f"it called sys.exit({error.code!r})") from error
    except Exception as error:
        write_result(directory, Result(status="failed", epochs=0, error=f"{type(error).__name__}: {error}"))
        raise
    if outcome.signal is not None:  # the job has written its checkpoint; the others are not to be begun
        raise Terminated if outcome.signal == signal.SIGTERM else KeyboardInterrupt
    objective = outcome.result.objective
    return float("nan") if objective is None else float(objective)
