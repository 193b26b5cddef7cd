"""How does a run survive the end of its process? Whole checkpoints, of which a half-written one never counts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

#: Version of the layout.
FORMAT: Final = 1
STATE: Final = "state.json"
#: Largest file of tensors, in bytes.
SHARD_BYTES: Final = 4 * 2**30


class CheckpointUnusable(TrainingError, ValueError):
    """A checkpoint is damaged or was made by other settings; the message says what to do."""


class CheckpointFailed(TrainingError, OSError):
    """A checkpoint could not be written; the last one before it is whole and stays."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk.

    Attributes:
        folder: Where it is.
        step: Updates before it.
        config: Settings of the run.
    """

    folder: Path
    step: int
    config: Mapping[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name.

        Raises:
            CheckpointUnusable: A file is missing or not the one that was written.
        """
        from safetensors.torch import load_file

        found: dict[str, Tensor] = {}
        for name, digest in json.loads((self.folder / STATE).read_text(encoding="utf-8"))["files"].items():
            path = self.folder / name
            if not path.is_file() or _digest(path) != digest:
                raise CheckpointUnusable(
                    f"{name} of {self.folder.name} is missing or damaged; take that folder away to go on from the one "
                    "before it."
                )
            found |= load_file(path)
        return found


def latest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a run's folder, if there is one.

    Raises:
        CheckpointUnusable: Its description cannot be read.
    """
    found = sorted(_whole(folder))
    if not found:
        return None
    try:
        said = json.loads((found[-1] / STATE).read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise CheckpointUnusable(f"{found[-1].name} has format {said['format']}; this version reads {FORMAT}.")
        return Checkpoint(found[-1], int(said["step"]), said["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointUnusable):
            raise
        raise CheckpointUnusable(f"{STATE} of {found[-1].name} cannot be read; take that folder away.") from error


class Writer:
    """Writes one checkpoint: tensors one after the other, then the description, then the folder's name.

    An error is kept and not raised, because the other processes wait until the first has taken every tensor; `finish`
    tells.
    """

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]) -> None:
        self._target = folder / f"step-{step:08d}"
        self._folder = folder / f".{self._target.name}.partial"
        self._said: dict[str, Any] = {"format": FORMAT, "step": step, "config": config, "files": {}}
        self._held: dict[str, Tensor] = {}
        self._bytes = 0
        self.error: Exception | None = None
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
        except OSError as error:
            self.error = error

    def add(self, name: str, tensor: Tensor) -> None:
        """Takes a tensor; a copy on the CPU is kept until its file is full."""
        if self.error is not None:
            return
        self._held[name] = tensor.detach().to("cpu", copy=True).contiguous()
        self._bytes += tensor.numel() * tensor.element_size()
        if self._bytes >= SHARD_BYTES:
            self._flush()

    def finish(self) -> None:
        """Makes it a checkpoint in one step.

        Raises:
            CheckpointFailed: It could not be written; nothing of it stays.
        """
        self._flush()
        if self.error is None:
            try:
                text = json.dumps(self._said, indent=2) + "\n"
                (self._folder / STATE).write_text(text, encoding="utf-8")
                _sync(self._folder / STATE)
                shutil.rmtree(self._target, ignore_errors=True)
                self._folder.rename(self._target)
                _sync(self._target.parent)
            except OSError as error:
                self.error = error
        if self.error is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            reason = getattr(self.error, "strerror", None) or str(self.error)
            raise CheckpointFailed(
                f"{self._target.name} could not be written: {reason}. Make room and repeat the command: it goes on "
                "from the checkpoint before it."
            ) from self.error

    def _flush(self) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        if self.error is not None or not self._held:
            return
        path = self._folder / f"tensors-{len(self._said['files']) + 1:05d}.safetensors"
        try:
            save_file(self._held, path)
            _sync(path)
            self._said["files"][path.name] = _digest(path)
        except (OSError, SafetensorError) as error:
            self.error = error
        self._held, self._bytes = {}, 0


def prune(folder: Path, keep: int) -> None:
    """Takes away all whole checkpoints but the newest so many."""
    for old in sorted(_whole(folder))[:-keep]:
        shutil.rmtree(old)


def _whole(folder: Path) -> Iterable[Path]:
    return folder.glob("step-" + "[0-9]" * 8)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
