"""Which processes work on this database, and which of them have died?"""

import hashlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select

from services import store
from services.database import Database
from services.tables import Worker


def new_worker_id() -> str:
    """A name for this process that no other process ever has."""
    return f"worker-{uuid.uuid4().hex}"


def machine_key() -> str:
    """Hash of host, boot and process namespace: where it is equal, process ids mean the same."""
    parts = [platform.node()]
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        parts += [boot.read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def is_running(pid: int) -> bool:
    """True if a process of this machine has the id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Heartbeat:
    """Signs of life of this process, and a watch over those of the others.

    A worker is dead when it said so, when its process on this machine is gone, or when its count of signs has stood
    still for `stale_seconds` of this process's own clock. Clocks of different machines are never compared.

    Args:
        database: Where the signs are written.
        worker_id: From `new_worker_id`.
        stale_seconds: Silence that means death, in seconds.
    """

    def __init__(self, database: Database, worker_id: str, stale_seconds: float) -> None:
        self.database = database
        self.worker_id = worker_id
        self.stale_seconds = stale_seconds
        self.machine = machine_key()
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._lock = threading.Lock()

    def beat(self) -> None:
        """Gives a sign of life."""
        with self.database.write() as session:
            store.beat(session, self.worker_id, machine=self.machine, pid=os.getpid())

    def stop(self) -> None:
        """Says that this process takes no more jobs."""
        with self.database.write() as session:
            store.stop_worker(session, self.worker_id)

    def find_dead(self, worker_ids: Iterable[str] = ()) -> set[str]:
        """The workers that are known to be dead, of those with a row and those named; to be asked again and again.

        A named worker without a row counts as one that is silent.
        """
        with self.database.read() as session:
            rows = {row.id: row for row in session.scalars(select(Worker))}
        now = time.monotonic()
        with self._lock:
            return {one for one in {*rows, *worker_ids} - {self.worker_id} if self._is_dead(one, rows.get(one), now)}

    def is_first(self, dead: set[str]) -> bool:
        """True if no worker but the dead has a smaller id: only that one hands dead workers' jobs on."""
        with self.database.read() as session:
            return dead.issuperset(session.scalars(select(Worker.id).where(Worker.id < self.worker_id)))

    def forget(self, worker_ids: Iterable[str]) -> None:
        """Removes dead workers whose jobs were handed on."""
        keys = sorted(worker_ids)
        with self.database.write() as session:
            store.drop_workers(session, keys)
        with self._lock:
            for key in keys:
                self._seen.pop(key, None)

    def _is_dead(self, worker_id: str, row: Worker | None, now: float) -> bool:
        if row is not None:
            if row.stopped_at is not None:
                return True
            if row.machine == self.machine and not is_running(row.pid):
                return True
        beats = row.beats if row is not None else None
        last, since = self._seen.setdefault(worker_id, (beats, now))
        if last != beats:
            self._seen[worker_id] = (beats, now)
            return False
        return now - since >= self.stale_seconds
