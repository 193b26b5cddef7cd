"""How do our weights go to disk and back, without the host's?"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from models.attach import attach, detach, own_parameters
from models.config import PVMConfig, SVEConfig
from models.errors import AdapterError, AttachmentError, InvalidConfig
from models.parts import Attachment, parts_of, shape_of

#: Version of the files' layout. A new one comes with a step in `_UPGRADES`, so that every old adapter loads for ever.
FORMAT: Final = 3
CONFIG_NAME: Final = "adapter.json"
WEIGHTS_NAME: Final = "adapter.safetensors"
#: Largest file of weights, in bytes; more go into several files.
SHARD_BYTES: Final = 4 * 2**30

Model = TypeVar("Model", bound=nn.Module)


def save_adapter(model: nn.Module, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes the attached modules as `adapter.json` and `adapter.safetensors`; equal adapters give equal bytes.

    The description holds the weights' hashes and is written last, each file in one step, so that a reader never takes a
    half-written or mixed adapter for a whole one. Weights beyond `shard_bytes` go into several files,
    `adapter-00001-of-00002.safetensors` and so on.

    Raises:
        AttachmentError: Nothing is attached, or the weights are not here but split over processes.
    """
    attachment = _attached(model)
    own = own_parameters(model)
    _require_here(own)
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(own, shard_bytes)
    hashes = {}
    for number, names in enumerate(shards, start=1):
        name = WEIGHTS_NAME if len(shards) == 1 else f"adapter-{number:05}-of-{len(shards):05}.safetensors"
        weights = {key: own[key].detach().cpu().contiguous() for key in names}
        _write(folder / name, lambda path, weights=weights: save_file(weights, path, metadata={"format": "pt"}))  # type: ignore[misc]
        hashes[name] = _hash_of(folder / name)
    description = {
        "format": FORMAT,
        "host": dict(shape_of(model)),
        "pvm": None if attachment.pvm is None else attachment.pvm.to_dict(),
        "sve": None if attachment.sve is None else attachment.sve.to_dict(),
        "weights": hashes,
    }
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    _write(folder / CONFIG_NAME, lambda path: path.write_text(text, encoding="utf-8"))
    for old in folder.glob("adapter*.safetensors"):
        if old.name not in hashes:
            old.unlink()  # of an adapter with another number of files


def load_adapter(model: Model, folder: Path) -> Model:
    """Attaches the modules of a saved adapter to `model` in place, with their weights, and returns it.

    Modules of the same configuration that are attached already get the saved weights. Weights take the type and the
    device of the host's parameters, whatever they were saved from. Adapters of every older format load.

    Raises:
        AdapterError: A file is missing or damaged, of another format, has unknown, missing or misshapen keys, or was
            made for a host of another shape. The model is unchanged then.
        AttachmentError: Modules of another configuration are attached.
    """
    description, weights = _read(folder)
    host = dict(shape_of(model))
    if description["host"] != host:
        saved = description["host"]
        differing = sorted(key for key in {*saved, *host} if saved.get(key) != host.get(key))
        raise AdapterError(
            "The adapter was made for another host: "
            + ", ".join(f"{key} {saved.get(key)} instead of {host.get(key)}" for key in differing)
            + ". Load it into the host it was trained with."
        )
    try:
        sve = None if description["sve"] is None else SVEConfig.from_dict(description["sve"])
        pvm = None if description["pvm"] is None else PVMConfig.from_dict(description["pvm"])
    except (InvalidConfig, TypeError) as error:
        raise AdapterError(f"{CONFIG_NAME} holds settings that this version cannot take: {error}") from error
    existing = parts_of(model).attachment
    if existing is None:
        # What the settings say of a start is over: the saved weights come in the place of what is made here.
        attach(model, sve=sve, pvm=pvm)
    elif (existing.sve, existing.pvm) != (sve, pvm):
        raise AttachmentError("Modules of another configuration are attached; call `detach` before loading.")
    try:
        _copy_weights(own_parameters(model), weights)
    except AdapterError:
        if existing is None:
            detach(model)
        raise
    return model


def _require_here(own: Mapping[str, nn.Parameter]) -> None:
    if any(parameter.numel() == 0 for parameter in own.values()):
        raise AttachmentError(
            "The weights of the attached modules are not here, as if ZeRO-3 had split them over processes; save and "
            "load within `deepspeed.zero.GatheredParameters(list(own_parameters(model).values()))`."
        )


def _shards(own: Mapping[str, nn.Parameter], most: int) -> list[list[str]]:
    """Names of the parameters for each file, in order; a file holds one at least."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, parameter in own.items():
        size = parameter.numel() * parameter.element_size()
        if shards[-1] and filled + size > most:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _copy_weights(own: Mapping[str, nn.Parameter], weights: Mapping[str, torch.Tensor]) -> None:
    _require_here(own)
    missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    if missing or unknown:
        raise AdapterError(
            f"{WEIGHTS_NAME} does not fit its description: {len(missing)} keys are missing and {len(unknown)} unknown, "
            f"the first {(missing + unknown)[0]}. Save the adapter again from the model it came from."
        )
    misshapen = sorted(name for name, parameter in own.items() if weights[name].shape != parameter.shape)
    if misshapen:
        raise AdapterError(f"{WEIGHTS_NAME} has another shape at {misshapen[0]}. Save the adapter again.")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def _attached(model: nn.Module) -> Attachment:
    attachment = parts_of(model).attachment
    if attachment is None:
        raise AttachmentError("Nothing is attached to this model, so there is no adapter to save.")
    return attachment


def _from_1(description: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had one file of weights, always."""
    rest = {key: value for key, value in description.items() if key != "weights_sha256"}
    return {**rest, "format": 2, "weights": {WEIGHTS_NAME: description.get("weights_sha256")}}


def _from_2(description: dict[str, Any]) -> dict[str, Any]:
    """Format 2 had one form of the visual memory, that of the authors' code."""
    form = {"branch": "memory", "normed_query": False, "shared_kv": False, "output_norm": True, "gate": "scalar"}
    pvm = description.get("pvm")
    return {**description, "format": 3, "pvm": {**pvm, **form} if isinstance(pvm, dict) else pvm}


#: How a description of each older format becomes one of the next.
_UPGRADES: Final = {1: _from_1, 2: _from_2}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    description = _read_description(folder)
    weights: dict[str, torch.Tensor] = {}
    for name, expected in description["weights"].items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise AdapterError(
                f"The folder has no {Path(name).name}; give one that `save_adapter` wrote, with all files."
            )
        if _hash_of(path) != expected:
            raise AdapterError(f"{name} is not the file that {CONFIG_NAME} describes; copy all files again.")
        try:
            weights |= load_file(path)
        except SafetensorError as error:
            raise AdapterError(f"{name} cannot be read: {error}. Save the adapter again.") from error
    return description, weights


def _read_description(folder: Path) -> dict[str, Any]:
    """The description in the newest format."""
    try:
        description = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AdapterError(f"The folder has no {CONFIG_NAME}; give one that `save_adapter` wrote.") from error
    except ValueError as error:
        raise AdapterError(f"{CONFIG_NAME} is not valid JSON; restore it from a backup or save it again.") from error
    found = description.get("format") if isinstance(description, dict) else None
    while found in _UPGRADES:
        description = _UPGRADES[found](description)
        found = description["format"]
    if found != FORMAT:
        raise AdapterError(
            f"The adapter has format {found}, this version reads 1 to {FORMAT}; use the version that wrote it."
        )
    expected = {"format", "host", "pvm", "sve", "weights"}
    if set(description) != expected:
        odd = sorted(set(description) ^ expected)
        raise AdapterError(f"{CONFIG_NAME} has unknown or missing keys: {', '.join(odd)}. Save the adapter again.")
    if not isinstance(description["weights"], dict) or not isinstance(description["host"], dict):
        raise AdapterError(f"{CONFIG_NAME} does not name its host and its files of weights. Save the adapter again.")
    return dict(description)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file beside its place and moves it there in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
