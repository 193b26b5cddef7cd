"""How is one function run over many items in several processes, when an item may kill its process?"""

import multiprocessing
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
) -> Iterator[Result]:
    """`function` of each item, in the order of the items, whichever process was faster.

    Only a bounded number of items and results is held at a time. When a process dies, the items that were under way
    are run again one at a time, each in a process of its own, so that exactly those that kill it get `on_crash`.

    Args:
        function: Importable by name, as every new process imports it.
        items: May be endless.
        workers: Processes beside this one, so that with 1 too a crash ends only its item; with 0 everything runs in
            this process, unprotected.
        on_crash: The result for an item whose process died.

    Raises:
        IngestError: No process can be started at all, so that a crash says nothing about an item.
    """
    source = iter(items)
    if workers < 1:
        yield from map(function, source)
        return
    waiting: deque[Item] = deque()
    while True:
        crashed: list[Item] = []
        # "spawn": a fork would copy locks that threads of this process hold.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            futures: deque[Future[Result]] = deque()
            while True:
                try:
                    for item in islice(source, workers * _AHEAD - len(futures)):
                        waiting.append(item)
                        futures.append(pool.submit(function, item))
                    if not futures:
                        return
                    result = futures[0].result()
                except BrokenProcessPool:
                    crashed = list(waiting)
                    break
                futures.popleft()
                waiting.popleft()
                yield result
        waiting.clear()
        for item in crashed:
            yield _alone(function, item, on_crash)


def _alone(function: Callable[[Item], Result], item: Item, on_crash: Callable[[Item], Result]) -> Result:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool as error:
            raise IngestError(
                "Worker processes end before they begin. A script that indexes with several workers needs "
                "`if __name__ == '__main__':` around what it runs; with one worker it does not."
            ) from error
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return on_crash(item)
