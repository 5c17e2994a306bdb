"""`ch12 board`: serves the pages of all runs and sweeps below a folder, live, on this machine."""

import errno
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from ch12cli.catalogue.names import OUTPUTS
from ch12cli.cli.help.arguments import Arguments
from ch12cli.errors import InputError, MachineError
from ch12cli.files.plain_values import whole_number_in
from ch12cli.run.garbage_collection import freeze_objects

HOST = "127.0.0.1"
PORT = 8712
LARGEST = 65535
WAITING = 128  # connections


def parser() -> Arguments:
    arguments = Arguments("board")
    arguments.add_argument("--port", metavar="N", help=f"default: {PORT}, or a free one; 0: a free one")
    arguments.add_argument("--write", action="store_true", help="allow changing tags")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if len(options.operands) > 1:
        raise InputError(f"{options.operands[1]}: unexpected argument; see `ch12 board --help`")
    folder = Path(options.operands[0]) if options.operands else OUTPUTS
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file; name a folder' if folder.exists() else 'no such folder'}")
    try:
        import uvicorn

        from ch12cli.board.app import board_app
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette"):
            raise
        raise InputError(f"board: {error.name} is not installed: pip install 'ch12[board]'") from error
    with listening(options.port) as found:
        port = found.getsockname()[1]
        token = secrets.token_urlsafe(16)
        app = board_app(folder, token=token, port=port, write=options.write)
        settings = uvicorn.Config(
            app, log_level="error", lifespan="off", access_log=False, ws="none", timeout_graceful_shutdown=1
        )
        freeze_objects()
        print(f"http://{HOST}:{port}/?token={token}", flush=True)
        uvicorn.Server(settings).run(sockets=[found])
    return 0


def listening(given: str | None) -> socket.socket:
    """A socket that listens on a port of this machine. given: the port that the user chose.

    Raises InputError for an impossible port, MachineError for one that is taken.
    """
    port = PORT if given is None else whole_number_in(given)
    if port is None or not 0 <= port <= LARGEST:
        raise InputError(f"--port {given}: must be a whole number from 0 to {LARGEST}")
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        if given is not None:
            found.close()
            reason = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise MachineError(f"--port {port}: {reason}; choose another, or 0 for a free one") from error
        found.bind((HOST, 0))
    found.listen(WAITING)
    return found
