"""The claim on a submitted sweep: one process follows it, on whatever machine, until it ends or shows no life."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ch12cli.errors import InputError
from ch12cli.files.cluster.bundle_json import WORK
from ch12cli.files.cluster.journal import ALIVE
from ch12cli.files.cluster.lease import Lease, leased


def claim_of(sweep: Path, number: int = 1, **values: Any) -> None:
    """A claim of another process."""
    (sweep / WORK).mkdir(parents=True, exist_ok=True)
    record = {"host": "far", "machine": "another", "process": 7, "time": time.time(), "ended": False, **values}
    (sweep / WORK / f"follower.{number}.json").write_text(json.dumps(record))


def test_a_process_on_another_machine_keeps_its_claim_while_it_gives_signs_of_life(tmp_path: Path) -> None:
    claim_of(tmp_path, time=time.time() - ALIVE / 2)
    with pytest.raises(InputError, match=r"the process 7 on far follows it; wait"):
        Lease(tmp_path)
    claim_of(tmp_path, time=time.time() - 2 * ALIVE)
    assert Lease(tmp_path).number == 2
    assert [path.name for path in (tmp_path / WORK).iterdir()] == ["follower.2.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"time": "x"}', b'{"process": [], "time": 1e400}'])
def test_a_claim_of_another_form_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WORK).mkdir(parents=True)
    path = tmp_path / WORK / "follower.4.json"
    path.write_bytes(content)
    os.utime(path, (0, 0))
    assert Lease(tmp_path).number == 5


def test_a_claim_that_is_being_made_counts(tmp_path: Path) -> None:
    (tmp_path / WORK).mkdir(parents=True)
    (tmp_path / WORK / "follower.1.json").touch()
    with pytest.raises(InputError, match="follows it"):
        Lease(tmp_path)


def test_the_claim_of_a_killed_process_of_this_machine_is_free_at_once(tmp_path: Path) -> None:
    with leased(tmp_path):
        found = json.loads((tmp_path / WORK / "follower.1.json").read_text())
    process = subprocess.Popen(["sleep", "60"])
    claim_of(tmp_path, 2, machine=found["machine"], process=process.pid)
    with pytest.raises(InputError, match=f"the process {process.pid} on far"):
        Lease(tmp_path)
    process.kill()
    process.wait()
    assert Lease(tmp_path).number == 3


def test_a_claim_ends_with_its_block_and_when_another_process_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leased(tmp_path):
        pass
    with leased(tmp_path) as lease:
        assert lease.number == 2
        lease.renew()
        claim_of(tmp_path, 3)
        monkeypatch.setattr(lease, "beat", 0.0)
        with pytest.raises(InputError, match="another process follows it now"):
            lease.renew()
