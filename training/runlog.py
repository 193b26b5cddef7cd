"""What does a run leave to be read while it goes on? A line of JSON and points for TensorBoard, step by step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training.metrics import append_metrics
from training.whole_file import write_whole

if TYPE_CHECKING:
    from torch import nn

METRICS: Final = "metrics.jsonl"
TENSORBOARD: Final = "tensorboard"


class RunLog:
    """The metrics of a run, in its folder.

    Args:
        folder: The run's.
        step: Updates before it begins; what an earlier process wrote of later ones is taken out, for it comes again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        self._path = folder / METRICS
        _cut(self._path, step)
        self._points: Any = SummaryWriter(str(folder / TENSORBOARD), purge_step=step)

    def write(self, step: int, model: nn.Module, values: dict[str, float]) -> None:
        """One line; the gates of the visual memory go with it."""
        from models.gates import gate_values

        append_metrics(self._path, step, model, **values)
        for name, value in {**values, **gate_values(model)}.items():
            self._points.add_scalar(name.replace(".", "/"), value, step)

    def close(self) -> None:
        """Writes what is not written yet."""
        self._points.close()


def _cut(path: Path, step: int) -> None:
    """Leaves whole lines of the steps before `step`."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        try:
            if json.loads(line)["step"] >= step:
                break
        except ValueError:
            break
        kept.append(f"{line}\n")
    write_whole(path, lambda part: part.write_text("".join(kept), encoding="utf-8"))
