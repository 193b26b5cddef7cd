"""Who indexes an archive now? One process at a time: two would take each other's files for changed or gone."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import func, select

from services.database import Database

logger = logging.getLogger(__name__)

#: Time between two looks at whether it is this process's turn, in seconds.
_POLL_SECONDS = 0.2


def turn(database: Database, archive_id: str) -> AbstractContextManager[None]:
    """While the context is open, no other process indexes this archive into this database; entering it may wait.

    The turn of a process that is killed ends with the process. Turns of different archives have nothing to do with
    each other. A database in memory has one process only.
    """
    if not database.is_sqlite:
        return _server_turn(database, archive_id)
    file = database.url.database
    if not file or file == ":memory:":
        return nullcontext()
    return _file_turn(Path(f"{file}.{archive_id[:8]}.lock"))


@contextmanager
def _server_turn(database: Database, archive_id: str) -> Iterator[None]:
    key = int.from_bytes(bytes.fromhex(archive_id[:16]), "big", signed=True)
    with database.engine.connect() as connection:
        # A lock of the connection: one of a transaction would keep it open for hours. The connection does not go back
        # to the pool but is closed, and the lock ends with it, as it does when the process is killed.
        connection.execution_options(isolation_level="AUTOCOMMIT").detach()
        _wait(lambda: bool(connection.scalar(select(func.pg_try_advisory_lock(key)))))
        yield


@contextmanager
def _file_turn(path: Path) -> Iterator[None]:
    descriptor = -1

    def take() -> bool:
        nonlocal descriptor
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the turn has removed the file: what was opened before that is not what others find now.
            is_mine = os.path.samestat(os.fstat(descriptor), path.stat())
        except (BlockingIOError, FileNotFoundError):
            is_mine = False
        if not is_mine:
            os.close(descriptor)
        return is_mine

    _wait(take)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _wait(take: Callable[[], bool]) -> None:
    if take():
        return
    logger.warning("another process indexes this archive; waiting for it", extra={"action": "turn_awaited"})
    while not take():
        time.sleep(_POLL_SECONDS)
