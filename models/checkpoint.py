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
from safetensors.torch import load, save_file
from torch import nn

from models.attach import attach, detach, own_parameters
from models.config import PVMConfig, SVEConfig
from models.errors import AdapterError, AttachmentError, InvalidConfig
from models.parts import Attachment, parts_of, shape_of

#: Version of the two files' layout. A new one comes with an explicit upgrade of the old in `load_adapter`.
FORMAT: Final = 1
CONFIG_NAME: Final = "adapter.json"
WEIGHTS_NAME: Final = "adapter.safetensors"

Model = TypeVar("Model", bound=nn.Module)


def save_adapter(model: nn.Module, folder: Path) -> None:
    """Writes the attached modules as `adapter.json` and `adapter.safetensors`; equal adapters give equal bytes.

    The description holds the weights' hash and is written last, each file in one step, so that a reader never takes a
    half-written or mixed adapter for a whole one.

    Raises:
        AttachmentError: Nothing is attached.
    """
    attachment = _attached(model)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in own_parameters(model).items()}
    _write(folder / WEIGHTS_NAME, lambda path: save_file(weights, path, metadata={"format": "pt"}))
    description = {
        "format": FORMAT,
        "host": dict(shape_of(model)),
        "pvm": None if attachment.pvm is None else attachment.pvm.to_dict(),
        "sve": None if attachment.sve is None else attachment.sve.to_dict(),
        "weights_sha256": hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest(),
    }
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    _write(folder / CONFIG_NAME, lambda path: path.write_text(text, encoding="utf-8"))


def load_adapter(model: Model, folder: Path) -> Model:
    """Attaches the modules of a saved adapter to `model` in place, with their weights, and returns it.

    Modules of the same configuration that are attached already get the saved weights. Weights take the type of the
    host's parameters.

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


def _copy_weights(own: Mapping[str, nn.Parameter], weights: Mapping[str, torch.Tensor]) -> None:
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


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        description = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        content = (folder / WEIGHTS_NAME).read_bytes()
    except FileNotFoundError as error:
        raise AdapterError(
            f"The folder has no {Path(error.filename).name}; give one that `save_adapter` wrote."
        ) from error
    except ValueError as error:
        raise AdapterError(f"{CONFIG_NAME} is not valid JSON; restore it from a backup or save it again.") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise AdapterError(f"The adapter has format {found}, this version reads {FORMAT}; save it again.")
    expected = {"format", "host", "pvm", "sve", "weights_sha256"}
    if set(description) != expected:
        odd = sorted(set(description) ^ expected)
        raise AdapterError(f"{CONFIG_NAME} has unknown or missing keys: {', '.join(odd)}. Save the adapter again.")
    if hashlib.sha256(content).hexdigest() != description["weights_sha256"]:
        raise AdapterError(f"{WEIGHTS_NAME} is not the file that {CONFIG_NAME} describes; copy both again.")
    try:
        return description, load(content)
    except SafetensorError as error:
        raise AdapterError(f"{WEIGHTS_NAME} cannot be read: {error}. Save the adapter again.") from error


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
