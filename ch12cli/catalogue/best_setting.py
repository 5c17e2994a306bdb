"""The best setting of a sweep: its interval over seeds, and whether it is distinguishable from the second."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ch12cli.catalogue.formatting import column_label, count_of, format_interval, format_number
from ch12cli.catalogue.keys_of_settings import NOT_ITS_OWN, is_repetition, repetitions_in_words
from ch12cli.catalogue.summary import Folded, fold_seeds, t_quantile, trained_alike, varying
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, rows_to_come, sweep_monitor
from ch12cli.errors import InputError
from ch12cli.files.command import override_key, split_command
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.sweep_csv import ENDED, SweepRow
from ch12cli.shell import shell_line


@dataclass(frozen=True)
class BestSetting:
    """The setting with the best mean objective, of those that compete (see `fold_seeds`).

    values: its overrides that differ between settings. settings: the number of settings that were tried; pruned: those
    of them that halving stopped; incomplete: those with missing folds or seeds. left: how many of its own runs halving
    stopped, beside those that count. half_width: of the 95 % confidence interval of the mean, NaN for one run.
    advantage: by how much it is better than the second, over the seeds (and folds) that both have, and half of the
    interval's width; None without a second, or with fewer than two common ones. jobs: its runs that count. job: the
    best of them. population: whether the best run went on from others, so that its overrides are only those that it
    began with.
    """

    metric: str
    values: Mapping[str, str]
    settings: int
    runs: int
    repetitions: str
    mean: float
    half_width: float
    advantage: tuple[float, float, int] | None
    jobs: tuple[int, ...]
    job: int
    pruned: int = 0
    incomplete: int = 0
    left: int = 0
    population: bool = False

    @property
    def is_distinguishable(self) -> bool | None:
        """Whether the interval of the advantage lies above 0. None if it is unknown."""
        return None if self.advantage is None else self.advantage[0] > self.advantage[1]


def best_setting(rows: Sequence[SweepRow], monitor: str) -> BestSetting | None:
    """Returns the best setting among rows of one metric that were trained as long as planned; None if there is none."""
    rows, alike, keys = comparable(rows, monitor)
    finished = [row for row in alike if row.status == "finished" and row.objective is not None]
    minimise = minimised(monitor)
    if any(row.ancestry for row in finished):
        return best_of_population(finished, keys, monitor)
    folded = fold_seeds(alike, keys, minimise=minimise)
    found = [each for each in folded if each.competes]
    if not found:
        return None
    first = found[0]
    counting = {number for each in found[:2] for number in each.numbers}
    runs = [row for row in finished if row.job in counting]
    advantage = paired_advantage(runs, keys, first.values, found[1].values) if len(found) > 1 else None
    if advantage is not None and not minimise:
        advantage = (-advantage[0], *advantage[1:])
    assert first.best is not None
    own = [key for key in keys if not is_repetition(key)]
    settings = settings_among((row for row in rows if row.status in ENDED), own)
    left = [row for row in rows if row.status in ENDED and row.left_at is not None]
    trained = settings_among((row for row in rows if row.status in ENDED and row.left_at is None), own)
    return BestSetting(
        monitor,
        {key: value for key, value in first.values.items() if value},
        len(settings),
        first.runs,
        repetitions_in_words(keys),
        first.mean["objective"],
        first.half_width["objective"],
        advantage,
        first.numbers,
        first.best,
        pruned=len(settings - trained),
        incomplete=sum(each.runs > 0 and not each.is_complete and each.diverged == each.failed == 0 for each in folded),
        left=sum(all(row.overrides.get(key, "") == first.values[key] for key in own) for row in left),
    )


def comparable(rows: Sequence[SweepRow], monitor: str) -> tuple[list[SweepRow], list[SweepRow], list[str]]:
    """Returns the rows of one metric, those of them that were trained as long as planned, and the keys of a setting."""
    rows = [row for row in rows if not row.monitor or row.monitor == monitor]
    alike, _ = trained_alike(rows)
    return rows, alike, [key for key in varying(rows) if key not in NOT_ITS_OWN]


def settings_in_order(rows: Sequence[SweepRow], monitor: str) -> list[Folded]:
    """Returns the settings that compete for the best, best first; none of a population."""
    _, alike, keys = comparable(rows, monitor)
    if any(row.ancestry for row in alike):
        return []
    return [each for each in fold_seeds(alike, keys, minimise=minimised(monitor)) if each.competes]


def with_planned_seeds(sweep: Path, rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Returns the rows, and one for each planned job of their settings that has none.

    So that a setting with missing seeds or folds, as a kill leaves it, is not taken for a whole one.
    """
    begun = {without_repetitions(row) for row in rows}
    return [*rows, *(row for row in rows_to_come(sweep, rows) if without_repetitions(row) in begun)]


def without_repetitions(row: SweepRow) -> frozenset[tuple[str, str]]:
    return frozenset(pair for pair in row.overrides.items() if not is_repetition(pair[0]))


def settings_among(rows: Iterable[SweepRow], own: Sequence[str]) -> set[tuple[str, ...]]:
    """Returns the settings of rows: their values of the keys `own`."""
    return {tuple([row.overrides.get(key, "") for key in own]) for row in rows}


def best_of_population(rows: Sequence[SweepRow], keys: Sequence[str], monitor: str) -> BestSetting:
    """Returns the best run of a population. If it went on from no other, its overrides are a setting."""
    best = (min if minimised(monitor) else max)(rows, key=lambda row: row.number("objective"))
    value = best.number("objective")
    own = {key: best.overrides[key] for key in keys if key in best.overrides}
    return BestSetting(
        *(monitor, own, len(rows), 1, "", value, math.nan, None, (best.job,), best.job), population=bool(best.ancestry)
    )


def paired_advantage(
    rows: Sequence[SweepRow], keys: Sequence[str], first: Mapping[str, str], second: Mapping[str, str]
) -> tuple[float, float, int] | None:
    """Returns the mean of the second's objective minus the first's, half of its interval, and the number of pairs.

    Pairs are of runs with the same seed and fold. None for fewer than two.
    """
    repeated = [key for key in keys if is_repetition(key)]
    own = [key for key in keys if not is_repetition(key)]

    def of(values: Mapping[str, str]) -> dict[tuple[str, ...], float]:
        matching = [row for row in rows if all(row.overrides.get(key, "") == values[key] for key in own)]
        return {tuple(row.overrides.get(key, "") for key in repeated): row.number("objective") for row in matching}

    one, other = of(first), of(second)
    differences = [other[pair] - one[pair] for pair in one if pair in other]
    count = len(differences)
    if count < 2:
        return None
    mean = sum(differences) / count
    deviation = math.sqrt(sum((each - mean) ** 2 for each in differences) / (count - 1))
    return mean, t_quantile(count - 1) * deviation / math.sqrt(count), count


def describe_best(best: BestSetting, *, ascii_only: bool = False, sweep: str = "SWEEP") -> list[str]:
    """Returns lines about the best setting: what it is, its value, and how it compares with the second."""
    name = " ".join(f"{key}={value}" for key, value in best.values.items())
    label, kind = column_label(best.metric, ascii_only=ascii_only), best.metric.partition("_")[2]
    value = format_interval(kind, best.mean, best.half_width, ascii_only=ascii_only)
    if best.population:
        line = f"best of a population of {count_of(best.settings, 'run')}: job {best.job}, {label} {value}"
        return [line, f"its numbers changed while it trained: {shell_line(['ch12', 'show', f'{sweep}/{best.job}'])}"]
    runs, repetitions = f"{best.runs}", best.repetitions or "runs"
    if best.left:
        runs = f"{best.runs} of {best.runs + best.left}"
    lines = [f"best of {settings_in_words(best)}: {name}", f"{label} {value}"]
    if best.runs > 1 or best.left:
        lines[-1] += f" over {runs} {repetitions}"
    if best.left:
        hint = "`by: setting` in sweep.halving keeps all seeds of a setting"
        lines.append(f"halving stopped the other {best.left}, the worse ones; {hint}")
    if best.advantage is not None:
        sign, (mean, half, pairs) = "+-" if ascii_only else "±", best.advantage
        gain = f"by {format_number(kind, abs(mean))} {sign} {format_number(kind, half)}"
        gain += f", paired over {pairs} {best.repetitions}"
        if best.is_distinguishable:
            lines.append(f"better than the second {gain}")
        else:  # over the seeds that both have, it may be the worse one
            lines.append(f"not distinguishable from the second: {'better' if mean >= 0 else 'worse'} {gain}")
    elif best.settings > 1 and best.runs == 1:
        command = shell_line(["ch12", "train", "--best-of", sweep, "seed=range(20)"])
        lines.append(f"one run alone may be lucky: {command} trains it with more seeds")
    return lines


def settings_in_words(best: BestSetting) -> str:
    """Returns `10 settings, 7 of them pruned, 1 of them incomplete`."""
    parts = {"pruned": best.pruned, "incomplete": best.incomplete}
    named = [f"{count:,} of them {word}" for word, count in parts.items() if count]
    return ", ".join([count_of(best.settings, "setting"), *named])


def best_command(sweep: Path) -> tuple[list[str], list[str]]:
    """Returns the options and the overrides of the best setting of a sweep, without its seed and fold.

    Raises InputError if no job of the sweep has finished.
    """
    rows = read_rows_as_planned(sweep)
    best = best_setting(with_planned_seeds(sweep, rows), sweep_monitor(sweep, rows) or "valid_loss")
    if best is None:
        raise InputError(f"{sweep}: no job has finished, so there is no best setting")
    if best.population:
        raise InputError(
            f"{sweep}: its best run, job {best.job}, had other numbers from one epoch to the next, so there is no "
            "best setting to train; ch12 repro repeats that run"
        )
    command = next(row.command for row in rows if row.job == best.job)
    options, overrides = split_command(command)
    own = [override for override in overrides if not is_repetition(override_key(override))]
    return options, [override for override in own if override_key(override) not in NOT_ITS_OWN]
