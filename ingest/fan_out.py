"""How is one function run over many items in several processes, when an item may kill its process or never end?"""

import faulthandler
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ingest.errors import IngestError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Chunks handed out ahead of the one that is waited for, per process: enough to keep all busy, few enough for memory.
_AHEAD = 16
#: Chunks that are looked up beyond those while the first processes start, or all are busy.
_SPARE = 256
#: Imported before the processes are made.
_IMPORTED = ["ingest.dicom.index"]
_NO_PROCESS = (
    "Worker processes end before they begin: the machine may be out of memory or of processes. Free some, or read with "
    "fewer workers."
)
#: Held while this process has no main module.
_hiding = threading.Lock()


def fan_out(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    seconds: Callable[[Item], float],
    on_crash: Callable[[Item], Result],
    on_timeout: Callable[[Item], Result],
    chunk: int = 1,
) -> Iterator[Result]:
    """`function` of each item, in the order of the items, whichever process was faster.

    Only a bounded number of items and results is held at a time. A process that takes too long is ended. When a process
    dies, what was under way is run again, one chunk at a time and at last one item at a time, each in a process of its
    own, so that exactly those items that kill it get `on_crash`, and those that had all their time `on_timeout`.

    Args:
        function: Importable by name, as every new process imports it, and not from the main module.
        items: May be endless.
        workers: Processes beside this one, so that with 1 too a crash ends only its item; with 0 everything runs in
            this process, unprotected.
        seconds: How long an item may take. A chunk is ended after the longest time of its items.
        on_crash: The result for an item whose process died.
        on_timeout: The result for an item that took too long.
        chunk: Items sent to a process at a time: more for items that take less time than the sending.

    Raises:
        IngestError: No process can be started at all, so that a crash says nothing about an item.
    """
    source = iter(items)
    if workers < 1:
        yield from map(function, source)
        return
    ahead = workers * _AHEAD
    spare: deque[list[Item]] = deque()

    def next_part() -> list[Item]:
        return spare.popleft() if spare else list(islice(source, chunk))

    waiting: deque[list[Item]] = deque()
    while True:
        crashed: list[list[Item]] = []
        with _pool(workers) as pool:
            futures: deque[Future[list[Result]]] = deque()
            while True:
                try:
                    while len(futures) < ahead and (part := next_part()):
                        waiting.append(part)
                        futures.append(_submit(pool, _each, function, part, max(map(seconds, part))))
                    if not futures:
                        return
                    while not futures[0].done() and len(spare) < _SPARE and (part := list(islice(source, chunk))):
                        spare.append(part)
                    results = futures[0].result()
                except BrokenProcessPool:
                    crashed = list(waiting)
                    break
                futures.popleft()
                waiting.popleft()
                yield from results
        waiting.clear()
        for part in crashed:
            yield from _alone(function, part, seconds, on_crash, on_timeout)


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fork of this process would copy locks that its threads hold. So they are forks of a process that does nothing
    # else, and has imported once what takes each of them longer than a thousand headers.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _submit(pool: ProcessPoolExecutor, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Hands work to a process, and starts one if none is free.

    A new process imports the main module of this one under another name: the whole command line, or a script that then
    does again what it is doing. Nothing that is handed out here lies in it, so it is not shown.

    Raises:
        IngestError: No process can be started.
    """
    with _hiding:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return pool.submit(work, *arguments)
        except (EOFError, OSError) as error:
            raise IngestError(_NO_PROCESS) from error
        finally:
            sys.modules["__main__"] = main


def _end_with_parent() -> None:
    """Lets this process end when its parent does: a worker holds both ends of its queue and would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, name="interval-parent", daemon=True).start()


def _each(function: Callable[[Item], Result], items: list[Item], seconds: float) -> list[Result]:
    with Path(os.devnull).open("w") as nowhere:
        # Its thread needs no interpreter lock, which a decoder may hold for ever.
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            return [function(item) for item in items]
        finally:
            faulthandler.cancel_dump_traceback_later()


def _alone(
    function: Callable[[Item], Result],
    items: list[Item],
    seconds: Callable[[Item], float],
    on_crash: Callable[[Item], Result],
    on_timeout: Callable[[Item], Result],
) -> list[Result]:
    with _pool(1) as pool:
        try:
            _submit(pool, int).result()
        except BrokenProcessPool as error:
            raise IngestError(_NO_PROCESS) from error
        limit, started = max(map(seconds, items)), time.monotonic()
        try:
            return _submit(pool, _each, function, items, limit).result()
        except BrokenProcessPool:
            if len(items) == 1:
                failed = on_timeout if time.monotonic() - started >= limit else on_crash
                return [failed(items[0])]
    return [result for item in items for result in _alone(function, [item], seconds, on_crash, on_timeout)]
