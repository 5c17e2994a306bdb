"""The trackers of a sweep's jobs, which are told of each job when it has ended."""

from collections.abc import Iterable
from pathlib import Path

from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import METRICS, RESULT
from ch12cli.run.trackers import Trackers, params_of
from ch12cli.sweep.callbacks import SweepCallback
from ch12cli.sweep.jobs import SweepJob
from ch12cli.trackers.tracker import Tracked, names_of, require_installed


def logger_of(job: SweepJob) -> str | list[str]:
    """The job's `logger`, without making all of its settings."""
    setting: str | list[str] = job.changes.get("logger", job.base.resolved["logger"])
    return setting


def require_trackers(jobs: Iterable[SweepJob]) -> None:
    """InputError for a tracker of a job whose packages are not here."""
    for setting in {repr(logger_of(job)): logger_of(job) for job in jobs}.values():
        require_installed(setting)


def log_job(job: SweepJob, sweep_dir: Path, callback: SweepCallback, failed: set[str]) -> None:
    """Tells a job's trackers what it came to, from its files. failed: trackers that did so before; grows."""
    directory = sweep_dir / job.directory
    if not names_of(logger_of(job)) or not directory.is_dir():
        return
    params = params_of(job.settings, job.chosen)
    tracked = Tracked(directory, f"{sweep_dir.name}/{job.directory}", params, sweep_dir)
    trackers = Trackers(logger_of(job), tracked, callback.on_message, failed)
    for row in read_metrics(directory / METRICS):
        trackers.on_epoch_end(row)
    trackers.on_end(read_result(directory / RESULT) or Result(status="failed"))
