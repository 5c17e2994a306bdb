"""50,000 random inputs: overrides, tables, plans, records and filters. No traceback, no hang, no file opened outside.

Every input is drawn from its number, so that a failure names the input that shows it again.
"""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from ch12cli.catalogue.query import Query
from ch12cli.cli.main import main
from ch12cli.config.choices import default_choices, known_keys
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.data.columns import Column
from ch12cli.data.csv_file import csv_file
from ch12cli.data.new_rows import read_rows
from ch12cli.data.table import Table
from ch12cli.errors import InputError, MachineError
from ch12cli.files.plan_json import read_plan
from ch12cli.files.result_json import seal
from ch12cli.files.sealed_json import checksum
from ch12cli.run.start import checked
from ch12cli.sweeps.hydra_sweep import read_sweep
from ch12cli.sweeps.resume import saved_jobs
from tests.promises.hostile import HOSTILE
from tests.promises.test_malice import WATCH

LONGEST = 10  # seconds for an input
TOKENS = (
    *("0", "1", "-1", "1e400", "nan", "inf", "-inf", "1_0", "٣", "²", "9" * 400, "9" * 5000, "0x1", "010", "1e-400"),
    *("null", "true", "???", "''", '"', "'", "\\", "{", "}", "[", "]", "(", ")", ",", ":", "=", "|", ";", "\t", " "),
    *("${epochs}", "${oc.env:HOME}", "${", "range(0,3)", "range(0,nan)", "choice(1,2)", "glob(*)", "interval(0,1)"),
    *("../secret", "/secret", "secret", "_target_", "os.system", "\0", "\x1b[31m", "\u202e", "\ud800", "\udcff", "é"),
    *(
        "\n",
        "\r\n",
        "\r",
        "\ufeff",
        "#",
        "- a",
        "&a",
        "*a",
        "!!python/name:os.system",
        "a" * 300,
        "[" * 60,
        "+",
        "~",
        "@",
    ),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "x", "²", "1", "\ud800", "\x1b[31m", "a" * 300, "../secret", "/secret", "\0", "${epochs}", "os.system"),
    *([], [[]], [1, "x", None], {}, {"a": 1}, {"_target_": "os.system"}, [{}] * 3, {"": {"": {}}}, ["9" * 50]),
)


class TooSlowError(Exception):
    pass


@contextmanager
def in_time() -> Iterator[None]:
    """Raises TooSlowError after ten seconds of the processor, or a minute on a clock, as others use the machine too."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    numbers = (signal.SIGALRM, signal.SIGPROF)
    before = {number: signal.signal(number, late) for number in numbers}
    signal.alarm(6 * LONGEST)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def tried(inputs: int, draw: Callable[[random.Random], Any], use: Callable[[Any], object], inside: Path) -> int:
    """Uses as many drawn inputs, each of which may be refused; returns how many were accepted."""
    accepted = 0
    for number in range(inputs):
        given = draw(random.Random(number))
        try:
            with WATCH.over(inside) as seen, in_time():
                use(given)
            accepted += 1
        except (InputError, MachineError, OSError):  # each becomes a message
            pass
        except BaseException as error:
            pytest.fail(f"input {number}: {type(error).__name__}: {ascii(str(error))[:300]}: {ascii(given)[:1500]}")
        assert seen == [], (number, given)
    return accepted


def mutated(draw: random.Random, text: str) -> str:
    """A text with some of its parts taken out, doubled, replaced or filled with tokens."""
    for _ in range(draw.randint(1, 5)):
        start = draw.randint(0, len(text))
        end = min(len(text), start + draw.choice((0, 0, 1, 1, 2, 5, 20, 100)))
        filling = draw.choice(
            ("", draw.choice(TOKENS), text[start:end] * 2, chr(draw.choice((draw.randint(0, 255), 0x2028))))
        )
        text = text[:start] + filling + text[end:]
    return text


def encoded(draw: random.Random, text: str) -> bytes:
    content = text.encode("utf-8", draw.choice(("surrogatepass", "replace")))
    if draw.random() < 0.1 and content:  # a flipped bit
        at = draw.randrange(len(content))
        content = content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
    return content


def altered(draw: random.Random, node: Any) -> Any:
    """A copy of nested values of which some are odd ones, missing or under another name."""
    if draw.random() < 0.001:
        return deepcopy(draw.choice(ODD))
    if isinstance(node, dict):
        pairs = [(name, altered(draw, value)) for name, value in node.items() if draw.random() > 0.0005]
        return {(str(draw.choice(ODD)) if draw.random() < 0.0005 else name): value for name, value in pairs}
    if isinstance(node, list):
        return [altered(draw, value) for value in node if draw.random() > 0.001]
    return node


# The user's own words


def drawn_word(draw: random.Random) -> str:
    keys = [
        *known_keys(),
        *default_choices(),
        "hydra.run.dir",
        "hydra.sweep.subdir",
        "hydra.mode",
        "+own.key",
        "imports",
    ]
    key = draw.choice(keys)
    value = draw.choice(
        (
            draw.choice(TOKENS),
            repr(draw.choice(ODD)),
            str(draw.choice(list(known_keys().values()))),
            "".join(draw.choices(TOKENS, k=3)),
        )
    )
    word = draw.choice(("", "", "", "+", "++", "~")) + f"{key}={value}"
    return word if draw.random() < 0.6 else mutated(draw, word)


@pytest.fixture
def composer(folder: Path) -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


@pytest.mark.slow
def test_4000_lines_of_random_overrides(composer: Composer, folder: Path) -> None:
    def draw(random_: random.Random) -> list[str]:
        return [drawn_word(random_) for _ in range(random_.choice((1, 1, 2, 4)))]

    assert tried(4_000, draw, lambda words: checked(composer, words), folder) > 20


@pytest.mark.slow
def test_1000_lines_of_random_overrides_of_a_sweep(composer: Composer, folder: Path) -> None:
    def draw(random_: random.Random) -> list[str]:
        words = [drawn_word(random_) for _ in range(random_.choice((0, 1, 1, 2)))]
        return [*words, random_.choice(("seed=1,2", "seed=range(3)", "batch_size=8,16", "optimizer=sgd,adam"))]

    assert tried(1_000, draw, lambda words: read_sweep(composer, words), folder) > 20


@pytest.mark.slow
def test_14000_random_filters(folder: Path) -> None:
    parts = (
        "epochs",
        "optimizer.lr",
        "status",
        ">",
        "<=",
        "=",
        "~",
        "!=",
        " and ",
        " or ",
        "not ",
        "(",
        ")",
        "0.5",
        "'x y'",
    )
    values = {
        "epochs": 3,
        "optimizer.lr": 0.1,
        "status": "finished",
        "seed": None,
        "a": True,
        "b": float("nan"),
        "c": 10**400,
    }

    def draw(random_: random.Random) -> str:
        text = "".join(random_.choice((*parts, random_.choice(TOKENS))) for _ in range(random_.randint(1, 12)))
        return random_.choice((text, f"epochs>{text}", mutated(random_, "epochs>2 and not (status=failed or a=true)")))

    assert tried(14_000, draw, lambda text: Query(text).matches(values), folder) > 500


# Tables


def drawn_table(draw: random.Random) -> str:
    separator = draw.choice((",", ",", ";", "\t", " ", "|"))
    columns = draw.randint(1, 5)
    kinds = [
        draw.choice((lambda: str(draw.randint(-9, 9)), lambda: f"{draw.gauss(0, 10):.3g}", lambda: draw.choice("abc")))
        for _ in range(columns)
    ]
    lines = [separator.join(f"c{n}" for n in range(columns))]
    lines += [separator.join(kind() for kind in kinds) for _ in range(draw.randint(0, 30))]
    text = draw.choice(("\n", "\r\n")).join(lines) + draw.choice(("", "\n", "\n\n"))
    return text if draw.random() < 0.2 else mutated(draw, text)


OPTIONS: dict[str, tuple[Any, ...]] = {
    "target": (None, None, "c0", "c1", "nothing", ""),
    "features": ("all", "numbers", "categories", ["c0"], ["c0", "c0"], []),
    "exclude": ([], ["c1"], ["nothing"]),
    "categories": ([], ["c0"]),
    "target_type": ("auto", "classes", "values"),
    "missing": ("refuse", "drop", "mean", "median"),
    "separator": ("comma", "comma", "semicolon", "tab", "space", "bar"),
    "header": (True, True, False),
    "skip_lines": (0, 0, 1, 10**6),
}


@pytest.mark.slow
def test_18000_random_tables(folder: Path) -> None:
    path = folder / "table.csv"

    def draw(random_: random.Random) -> tuple[bytes, dict[str, Any]]:
        return encoded(random_, drawn_table(random_)), {
            name: random_.choice(values) for name, values in OPTIONS.items()
        }

    def use(given: tuple[bytes, dict[str, Any]]) -> Table:
        path.write_bytes(given[0])
        table = csv_file(str(path), **given[1])
        assert np.isfinite(table.features).all() or table.missing
        return table

    assert tried(18_000, draw, use, folder) > 20


@pytest.mark.slow
def test_7000_random_tables_of_new_rows(folder: Path) -> None:
    columns = (Column("c0", None), Column("c1", ("a", "b")))

    def use(content: bytes) -> object:
        return read_rows(content, columns, source="rows", allow_missing=len(content) % 2 == 0)

    assert tried(7_000, lambda random_: encoded(random_, drawn_table(random_)), use, folder) > 2


# A stranger's records


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and a sweep of which a job is missing."""
    place = tmp_path_factory.mktemp("records")
    words = ["train", "-q", "device=cpu", "epochs=2"]
    assert main([*words, f"hydra.run.dir={place / 'run'}"]) == 0
    assert main([*words, "-m", "seed=1,2", "optimizer=sgd,adam", f"hydra.sweep.dir={place / 'sweep'}"]) == 0
    shutil.rmtree(place / "sweep" / "3")
    return place


@pytest.mark.slow
def test_4000_random_plans(records: Path, folder: Path) -> None:
    """Sealed anew, as somebody would who knows how."""
    shutil.copytree(records / "sweep", folder / "sweep")
    path = folder / "sweep" / ".ch12" / "plan.json"
    honest = json.loads(path.read_text(encoding="utf-8"))
    del honest["checksum"]
    keys = [key for key, _ in HOSTILE.values() if ":" not in key]

    def draw(random_: random.Random) -> bytes:
        plan = altered(random_, honest)
        if isinstance(plan, dict) and random_.random() < 0.5:
            for job in plan["jobs"] if isinstance(plan.get("jobs"), list) else ():
                if isinstance(job, dict) and isinstance(job.get("changes"), dict):
                    job["changes"][random_.choice((*keys, "seed", "logger", "compile", "dataset.file"))] = (
                        random_.choice(ODD)
                    )
        if not isinstance(plan, dict) or random_.random() < 0.1:
            return encoded(random_, mutated(random_, json.dumps(honest)))
        return json.dumps({**plan, "checksum": checksum(plan)}).encode()

    def use(content: bytes) -> object:
        path.write_bytes(content)
        return saved_jobs(read_plan(folder / "sweep"), directory=Path("sweep"), trust=False)

    assert tried(4_000, draw, use, folder) > 5


RECORDS = (
    *(
        "run/result.json",
        "run/metrics.csv",
        "run/.hydra/config.yaml",
        "run/.hydra/overrides.yaml",
        "run/.hydra/hydra.yaml",
    ),
    *("sweep/sweep.csv", "sweep/.ch12/plan.json", "sweep/.ch12/progress.json", "sweep/1/result.json", "run/tags.txt"),
)
LOOKING = (["runs"], ["runs", "-o", "json"], ["show"], ["compare"], ["watch"], ["runs", "--jobs"], ["plot"])


@pytest.mark.slow
def test_2000_random_records(records: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder / "place"
    shutil.copytree(records, place)
    (place / "sweep" / ".ch12" / "progress.json").write_text('{"format": 1, "began": 1.0, "stacks": [[[0, 1], 1, 2]]}')
    (place / "run" / "tags.txt").write_text("good\n")
    honest = {name: (place / name).read_bytes() for name in RECORDS}

    def draw(random_: random.Random) -> tuple[str, bytes, list[str]]:
        name = random_.choice(RECORDS)
        content = encoded(random_, mutated(random_, honest[name].decode()))
        if name.endswith("result.json") and random_.random() < 0.7:
            result = altered(random_, {k: v for k, v in json.loads(honest[name]).items() if k != "checksum"})
            with suppress(AttributeError, UnicodeEncodeError):  # no mapping any more; a lone surrogate
                content = encoded(random_, seal(result).decode())
        return name, content, random_.choice(LOOKING)

    def use(given: tuple[str, bytes, list[str]]) -> None:
        name, content, verb = given
        (place / name).write_bytes(content)
        try:
            folder_of = "place" if verb[0] == "runs" else f"place/{name.partition('/')[0]}"
            assert main([*verb, folder_of]) in ((0, 2, 3, 4) if verb[0] == "watch" else (0, 2))
            out, err = capsys.readouterr()
            assert "\x1b" not in out + err
        finally:
            (place / name).write_bytes(honest[name])

    os.chdir(folder)
    assert tried(2_000, draw, use, folder) == 2_000
