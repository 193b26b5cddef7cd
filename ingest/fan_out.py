"""How is one function run over many items in several processes, when an item may kill its process?"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from ingest.errors import IngestError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items handed out ahead of the one that is waited for, per process: enough to keep all busy, few enough to stay small.
_AHEAD = 16


def fan_out(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    on_crash: Callable[[Item], Result],
    chunk: int = 1,
) -> Iterator[Result]:
    """`function` of each item, in the order of the items, whichever process was faster.

    Only a bounded number of items and results is held at a time. When a process dies, what was under way is run again,
    one chunk at a time and at last one item at a time, each in a process of its own, so that exactly those items that
    kill it get `on_crash`.

    Args:
        function: Importable by name, as every new process imports it.
        items: May be endless.
        workers: Processes beside this one, so that with 1 too a crash ends only its item; with 0 everything runs in
            this process, unprotected.
        on_crash: The result for an item whose process died.
        chunk: Items sent to a process at a time: more for items that take less time than the sending.

    Raises:
        IngestError: No process can be started at all, so that a crash says nothing about an item.
    """
    source = iter(items)
    if workers < 1:
        yield from map(function, source)
        return
    ahead = workers * max(2, _AHEAD // chunk)
    waiting: deque[list[Item]] = deque()
    while True:
        crashed: list[list[Item]] = []
        with _pool(workers) as pool:
            futures: deque[Future[list[Result]]] = deque()
            while True:
                try:
                    while len(futures) < ahead and (part := list(islice(source, chunk))):
                        waiting.append(part)
                        futures.append(pool.submit(_each, function, part))
                    if not futures:
                        return
                    results = futures[0].result()
                except BrokenProcessPool:
                    crashed = list(waiting)
                    break
                futures.popleft()
                waiting.popleft()
                yield from results
        waiting.clear()
        for part in crashed:
            yield from _alone(function, part, on_crash)


def _pool(workers: int) -> ProcessPoolExecutor:
    # "spawn": a fork would copy locks that threads of this process hold.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Lets this process end when its parent does: a worker holds both ends of its queue and would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, name="interval-parent", daemon=True).start()


def _each(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def _alone(function: Callable[[Item], Result], items: list[Item], on_crash: Callable[[Item], Result]) -> list[Result]:
    with _pool(1) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool as error:
            raise IngestError(
                "Worker processes end before they begin. A script that indexes with several workers needs "
                "`if __name__ == '__main__':` around what it runs; with one worker it does not."
            ) from error
        try:
            return pool.submit(_each, function, items).result()
        except BrokenProcessPool:
            if len(items) == 1:
                return [on_crash(items[0])]
    return [result for item in items for result in _alone(function, [item], on_crash)]
