"""The place of a process among those that torchrun started."""

import pytest

from ch12cli.cli.main import main
from ch12cli.distributed.torchrun import Place, torchrun_place, with_devices
from ch12cli.errors import InputError

ENVIRONMENT = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
PLACE = Place(rank=5, world=8, local_rank=1, local_world=4)


def test_the_place_is_read_from_all_of_torchruns_variables() -> None:
    assert torchrun_place(ENVIRONMENT) == PLACE
    for name in ENVIRONMENT:
        assert torchrun_place({key: value for key, value in ENVIRONMENT.items() if key != name}) is None
    assert torchrun_place({**ENVIRONMENT, "RANK": "first"}) is None
    assert torchrun_place({**ENVIRONMENT, "RANK": "0", "WORLD_SIZE": "1"}) is None


def test_devices_is_the_number_of_processes_that_torchrun_started() -> None:
    assert with_devices(["epochs=3"], None) == ["epochs=3"]
    assert with_devices(["epochs=3"], PLACE) == ["epochs=3", "devices=8"]
    assert with_devices(["devices=8"], PLACE) == ["devices=8"]
    with pytest.raises(InputError, match="devices=2: torchrun started 8 processes; leave it out"):
        with_devices(["devices=2"], PLACE)


REFUSED = {
    "devices=3 shards=4": "shards=4: must be a multiple of devices=3",
    "devices=2 device=mps": "device=mps: is one device, and devices=2",
    "-m seed=1,2 devices=2": "devices=2: is for a single run; the jobs of a sweep are trained side by side",
    "-m seed=1,2 shards=2": "shards=2: is for a single run",
    "-m devices=1,2": "devices=2: is for a single run",
    "devices=0": "devices=0: must be a whole number from 1 to 1024",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_shared_out_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *line.split()]) == 2
    assert REFUSED[line] in capsys.readouterr().err
