"""How do threads read scenes, each with files of its own that stay open?"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from ingest.acquisition import Acquisition
from ingest.geotiff.source import SceneReader, open_reader

#: Bytes of decoded blocks of all lanes: those under 512 rows of two scenes of 11,000 pixels, turned against each other,
#: take 340 MB if they are 1024 rows high (Sentinel-2), and the next 512 rows need most of them again.
_CACHE = 384 * 2**20

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Lane:
    """One thread and the scenes that it has open: it finds the blocks that it decoded last in GDAL's cache.

    GDAL keeps decoded blocks by open dataset, and a dataset is for one thread.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._files = ExitStack()
        self._readers: dict[Path, SceneReader] = {}
        self._given: WeakSet[Future[Any]] = WeakSet()

    def submit(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Has the thread do something after all that it was given before."""
        future = self._thread.submit(work, *args, **kwargs)
        self._given.add(future)
        return future

    def reader(self, scene: Acquisition) -> SceneReader:
        """A scene, opened when it is first asked for; for what the thread does.

        Raises:
            TruncatedRaster: The file cannot be opened any more.
        """
        if scene.path not in self._readers:
            self._readers[scene.path] = self._files.enter_context(open_reader(scene, cache=_CACHE))
        return self._readers[scene.path]

    def close(self) -> None:
        """Ends the thread when it has done what it is at; what it has not begun is dropped."""
        for future in tuple(self._given):
            future.cancel()
        # by the thread that opened them
        self._thread.submit(self._files.close).result()
        self._thread.shutdown()


@contextmanager
def open_lanes(count: int) -> Iterator[list[Lane]]:
    """So many lanes, closed at the end."""
    lanes = [Lane() for _ in range(count)]
    with ExitStack() as stack:
        for lane in lanes:
            stack.callback(lane.close)
        yield lanes
