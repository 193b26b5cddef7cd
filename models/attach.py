"""How do our modules enter a host, and leave it again?"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from models.config import PVMConfig, SVEConfig
from models.cross_image import CrossFFN, StatefulBlock
from models.errors import AttachmentError, UnknownHost
from models.hooks import CoreHook, DecoderHook, Generation, TowerHook
from models.hosts import HOSTS, Host, host_of
from models.visual_memory import FeedForwardWithMemory, MemoryShape, RememberingBlock, VisualMemory

Model = TypeVar("Model", bound=nn.Module)


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
        core: The module that has both the vision tower and the text decoder.
    """

    host: Host
    core: nn.Module

    @property
    def config(self) -> Any:
        """Configuration of the model."""
        return self.core.config

    @property
    def tower(self) -> nn.Module:
        """The vision tower."""
        tower: nn.Module = attrgetter(self.host.tower)(self.core)
        return tower

    @property
    def blocks(self) -> nn.ModuleList:
        """The vision blocks."""
        blocks: nn.ModuleList = attrgetter(self.host.blocks)(self.tower)
        return blocks

    @property
    def decoder(self) -> nn.Module:
        """The text decoder."""
        decoder: nn.Module = attrgetter(self.host.decoder)(self.core)
        return decoder

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers."""
        layers: nn.ModuleList = attrgetter(self.host.layers)(self.decoder)
        return layers

    @property
    def attachment(self) -> Attachment | None:
        """What is attached, or None."""
        return getattr(self.core, "interval_attachment", None)


def parts_of(model: nn.Module) -> Parts:
    """Finds the host inside a model, which may be wrapped by PEFT or a trainer.

    Raises:
        UnknownHost: No module in it is of a family in models/hosts.py.
    """
    seen: dict[str, None] = {}
    for module in model.modules():
        model_type = getattr(getattr(module, "config", None), "model_type", None)
        if not isinstance(model_type, str):
            continue
        seen[model_type] = None
        host = HOSTS.get(model_type)
        if host is not None and hasattr(module, host.tower) and hasattr(module, host.decoder):
            return Parts(host, module)
    for model_type in seen:
        host_of(model_type)
    raise UnknownHost(
        f"{type(model).__name__} has no part with a vision tower and a text decoder as models/hosts.py describes them."
    )


def attach(model: Model, *, sve: SVEConfig | None = None, pvm: PVMConfig | None = None) -> Model:
    """Puts the modules into `model` in place, and returns it; right after, its outputs are the same bit for bit.

    Call it after the host's weights are loaded: the stateful encoder starts as copies of them. `forward` and `generate`
    keep their signatures and take one more keyword, `prior_index`, for batches whose prompts cannot tell which image is
    whose prior. New parameters have the host's device and type, and require gradients.

    Args:
        model: A host of a family in models/hosts.py, or a wrapper around one.
        sve: Settings of the stateful visual encoder; None leaves it out.
        pvm: Settings of the persistent visual memory; None leaves it out.

    Raises:
        UnknownHost: The model is of no known family.
        AttachmentError: Modules are attached already, neither is asked for, or the host's shape does not fit. The model
            is unchanged then.
    """
    parts = parts_of(model)
    if sve is None and pvm is None:
        raise AttachmentError("Neither an SVEConfig nor a PVMConfig is given, so there is nothing to attach.")
    if parts.attachment is not None:
        raise AttachmentError("This model has modules attached already; call `detach` first.")
    blocks = [] if sve is None else _stateful_blocks(parts, sve)
    memories = {} if pvm is None else _memories(parts, pvm)

    attachment = Attachment(sve, pvm)
    image_token = getattr(parts.config, parts.host.image_token)
    attachment.handles += CoreHook(parts.host, image_token).install(parts.core)
    if sve is not None:
        for index, block in enumerate(blocks):
            parts.blocks[index] = block
        attachment.handles += TowerHook(_merge_size(parts)).install(parts.tower)
    if pvm is not None:
        for index, memory in memories.items():
            _insert_memory(parts, index, memory)
        attachment.handles += DecoderHook(parts.host, pvm.layers).install(parts.decoder)
    for module in model.modules():
        if parts.core in module.children() and callable(getattr(type(module), "generate", None)):
            module.generate = Generation(module, image_token)  # type: ignore[assignment]
            attachment.generators.append(module)
    parts.core.interval_attachment = attachment  # type: ignore[assignment]
    return model


def detach(model: Model) -> Model:
    """Takes the modules out of `model` in place, and returns it; its tree and outputs are the host's again.

    Raises:
        AttachmentError: Nothing is attached.
    """
    parts = parts_of(model)
    attachment = parts.attachment
    if attachment is None:
        raise AttachmentError("Nothing is attached to this model.")
    for handle in attachment.handles:
        handle.remove()
    for module in attachment.generators:
        del module.generate
    for index, block in enumerate(parts.blocks):
        if isinstance(block, StatefulBlock):
            parts.blocks[index] = block.base_layer
    for index, layer in enumerate(parts.layers):
        if isinstance(layer, RememberingBlock):
            base = layer.base_layer
            ffn = getattr(base, parts.host.layer_ffn)
            setattr(base, parts.host.layer_norm, ffn.base_norm)
            setattr(base, parts.host.layer_ffn, ffn.base_layer)
            parts.layers[index] = base
    del parts.core.interval_attachment
    return model


def own_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Our modules in `model`, found by class: "sve.<block>" and "pvm.<decoder layer>", in order."""
    parts = parts_of(model)
    found: dict[str, nn.Module] = {}
    for index, block in enumerate(parts.blocks):
        if isinstance(block, StatefulBlock):
            found[f"sve.{index}"] = block.cross_image
    for index, layer in enumerate(parts.layers):
        if isinstance(layer, RememberingBlock):
            found[f"pvm.{index}"] = getattr(layer.base_layer, parts.host.layer_ffn).memory
    return found


def own_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that `attach` added, by stable names ("sve.0.q_proj.weight", "pvm.8.gate_alpha")."""
    return {
        f"{name}.{key}": parameter
        for name, module in own_modules(model).items()
        for key, parameter in module.named_parameters()
    }


def _merge_size(parts: Parts) -> int:
    return int(getattr(parts.config.vision_config, parts.host.merge_size))


def _stateful_blocks(parts: Parts, config: SVEConfig) -> list[StatefulBlock]:
    """One stateful block for each vision block, with nothing put into the host yet."""
    heads = int(getattr(parts.config.vision_config, parts.host.vision_heads))
    blocks = []
    for index, block in enumerate(parts.blocks):
        accepted = inspect.signature(block.forward).parameters
        if "position_embeddings" not in accepted or accepted["kwargs"].kind is not inspect.Parameter.VAR_KEYWORD:
            raise AttachmentError(
                f"Vision block {index} does not take position_embeddings and further keywords; this release of "
                "transformers calls its blocks in another way than models/hosts.py knows."
            )
        paths = (*parts.host.block_norms, parts.host.block_qkv, *parts.host.block_ffn)
        _require(block, paths, f"Vision block {index}")
        blocks.append(StatefulBlock(block, CrossFFN(block, parts.host, heads=heads, init_std=config.init_std)))
    return blocks


def _memories(parts: Parts, config: PVMConfig) -> dict[int, VisualMemory]:
    """The retrieval branch of each chosen layer, with nothing put into the host yet."""
    text = parts.config.text_config
    depth = len(parts.layers)
    if config.layers[-1] >= depth:
        raise AttachmentError(f"PVM layers are {config.layers}, but the host has {depth} decoder layers, from 0 on.")
    head = int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    if config.latent_dim % head:
        raise AttachmentError(f"latent_dim is {config.latent_dim}; give a multiple of the host's head size, {head}.")
    heads = config.latent_dim // head
    kv_heads = max(1, heads // (text.num_attention_heads // text.num_key_value_heads))
    if heads % kv_heads:
        raise AttachmentError(f"latent_dim {config.latent_dim} gives {heads} heads, which {kv_heads} do not divide.")
    shape = MemoryShape(
        width=text.hidden_size,
        latent=config.latent_dim,
        inner=int(config.latent_dim * text.intermediate_size / text.hidden_size),
        head=head,
        heads=heads,
        kv_heads=kv_heads,
        eps=text.rms_norm_eps,
    )
    memories = {}
    for index in config.layers:
        layer = parts.layers[index]
        _require(layer, (parts.host.layer_norm, parts.host.layer_ffn), f"Decoder layer {index}")
        like = next(layer.parameters())
        memories[index] = VisualMemory(shape, init_std=config.init_std, device=like.device, dtype=like.dtype)
    return memories


def _insert_memory(parts: Parts, index: int, memory: VisualMemory) -> None:
    layer = parts.layers[index]
    norm, ffn = getattr(layer, parts.host.layer_norm), getattr(layer, parts.host.layer_ffn)
    setattr(layer, parts.host.layer_ffn, FeedForwardWithMemory(ffn, norm, memory, index))
    setattr(layer, parts.host.layer_norm, nn.Identity())
    parts.layers[index] = RememberingBlock(layer)


def _require(module: nn.Module, paths: tuple[str, ...], what: str) -> None:
    for path in paths:
        try:
            attrgetter(path)(module)
        except AttributeError as error:
            raise AttachmentError(
                f"{what} has no {path}; correct the host's entry in models/hosts.py for this release of transformers."
            ) from error


def shape_of(model: nn.Module) -> Mapping[str, Any]:
    """The numbers that say whether an adapter fits a host: family, depths and widths."""
    parts = parts_of(model)
    vision, text = parts.config.vision_config, parts.config.text_config
    return {
        "model_type": parts.config.model_type,
        "vision_blocks": len(parts.blocks),
        "vision_width": vision.hidden_size,
        "vision_ffn_width": vision.intermediate_size,
        "vision_heads": getattr(vision, parts.host.vision_heads),
        "merge_size": _merge_size(parts),
        "decoder_layers": len(parts.layers),
        "decoder_width": text.hidden_size,
        "decoder_ffn_width": text.intermediate_size,
        "decoder_heads": text.num_attention_heads,
        "decoder_kv_heads": text.num_key_value_heads,
    }
