"""Which parts of a given model do our modules enter?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from models.config import PVMConfig, SVEConfig
from models.errors import AttachmentError, UnknownHost
from models.hosts import HOSTS, Decoder, Host, host_of


@dataclass
class Attachment:
    """What `attach` did to a core, kept there for `detach` and for saving.

    Attributes:
        sve: Settings of the stateful encoder, or None without it.
        pvm: Settings of the visual memory, or None without it.
        handles: Of the hooks.
        generators: Modules whose `generate` was replaced.
    """

    sve: SVEConfig | None
    pvm: PVMConfig | None
    handles: list[RemovableHandle] = field(default_factory=list)
    generators: list[nn.Module] = field(default_factory=list)


@dataclass(frozen=True)
class Parts:
    """The parts of a host that matter to us.

    Attributes:
        host: The family's entry in the table.
        core: The module that calls the vision tower, or the tower itself where there is nothing around it.
    """

    host: Host
    core: nn.Module

    @property
    def config(self) -> Any:
        """Configuration of the model."""
        return self.core.config

    @property
    def vision_config(self) -> Any:
        """Configuration of the vision tower."""
        return self.config.vision_config if self.host.path else self.config

    @property
    def tower(self) -> nn.Module:
        """The vision tower."""
        tower: nn.Module = at(self.core, self.host.path)
        return tower

    @property
    def blocks(self) -> nn.ModuleList:
        """The vision blocks."""
        blocks: nn.ModuleList = at(self.tower, self.host.tower.blocks)
        return blocks

    @property
    def decoder_names(self) -> Decoder:
        """Names of the text decoder's parts; raises `AttachmentError` where nothing of ours can enter it."""
        if self.host.decoder is None:
            raise AttachmentError(
                f"models/hosts.py has no text decoder for {self.config.model_type}, so the visual memory cannot enter "
                "it: add a Decoder to its entry, and tests for it."
            )
        return self.host.decoder

    @property
    def decoder(self) -> nn.Module:
        """The text decoder."""
        decoder: nn.Module = at(self.core, self.decoder_names.path)
        return decoder

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers."""
        layers: nn.ModuleList = at(self.decoder, self.decoder_names.layers)
        return layers

    @property
    def image_token(self) -> int | None:
        """Id of the image placeholder; None for a tower alone, which sees no prompt."""
        return None if self.host.image_token is None else int(getattr(self.config, self.host.image_token))

    @property
    def merge_size(self) -> int | None:
        """Side of the square of patches that become one token; None for towers that take a batch of images."""
        return None if self.host.merge_size is None else int(getattr(self.vision_config, self.host.merge_size))

    @property
    def image_length(self) -> int | None:
        """Placeholders of each image, where all images have equally many."""
        return None if self.host.image_length is None else int(getattr(self.config, self.host.image_length))

    @property
    def attachment(self) -> Attachment | None:
        """What is attached, or None."""
        return getattr(self.core, "interval_attachment", None)


def at(module: nn.Module, path: str) -> Any:
    """What lies at an attribute path below a module; the module itself for an empty path."""
    return attrgetter(path)(module) if path else module


def parts_of(model: nn.Module) -> Parts:
    """Finds the host inside a model, which may be wrapped by PEFT or a trainer.

    Raises:
        UnknownHost: A module on the way to it is of a family that models/hosts.py does not have, or there is none.
    """
    for module in model.modules():
        model_type = getattr(getattr(module, "config", None), "model_type", None)
        if not isinstance(model_type, str):
            continue
        host = host_of(model_type)
        try:
            at(at(module, host.path), host.tower.blocks)
        except AttributeError:
            continue  # a head around the core, of the same family
        return Parts(host, module)
    raise UnknownHost(
        f"{type(model).__name__} has no part with a vision tower as models/hosts.py describes it; the families there "
        f"are {', '.join(sorted(HOSTS))}."
    )


def require(module: nn.Module, paths: tuple[str, ...], what: str) -> None:
    """Raises `AttachmentError` unless a module has everything at these paths."""
    for path in paths:
        try:
            at(module, path)
        except AttributeError as error:
            raise AttachmentError(
                f"{what} has no {path}; correct the host's entry in models/hosts.py for this release of transformers."
            ) from error


def shape_of(model: nn.Module) -> Mapping[str, Any]:
    """The numbers that say whether an adapter fits a host: family, depths and widths."""
    parts = parts_of(model)
    vision, names = parts.vision_config, parts.host.tower
    shape = {
        "model_type": parts.config.model_type,
        "vision_blocks": len(parts.blocks),
        "vision_width": getattr(vision, names.width),
        "vision_ffn_width": getattr(vision, names.ffn_width),
        "vision_heads": getattr(vision, names.heads),
    }
    if parts.merge_size is not None:
        shape["merge_size"] = parts.merge_size
    if parts.host.path:
        text = parts.config.text_config
        shape |= {
            "decoder_layers": text.num_hidden_layers,
            "decoder_width": text.hidden_size,
            "decoder_ffn_width": text.intermediate_size,
            "decoder_heads": text.num_attention_heads,
            "decoder_kv_heads": text.num_key_value_heads,
        }
    return shape
