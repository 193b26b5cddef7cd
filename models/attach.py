"""How do our modules enter a host, and leave it again?"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from torch import nn

from models.branch import GatedBranch, MemoryShape
from models.config import PVMConfig, SVEConfig
from models.errors import AttachmentError
from models.hooks import CoreHook, DecoderHook, Generation, PlaceholderHook, TowerHook
from models.parallel_mlp import ParallelMLP
from models.parts import Attachment, Parts, parts_of, require
from models.placement import strided
from models.stateful_block import StatefulBlock, insert_blocks, remove_blocks, stateful_blocks
from models.visual_memory import FeedForwardWithMemory, RememberingBlock, VisualMemory

Model = TypeVar("Model", bound=nn.Module)


def attach(model: Model, *, sve: SVEConfig | None = None, pvm: PVMConfig | None = None) -> Model:
    """Puts the modules into `model` in place, and returns it; right after, its outputs are the same bit for bit.

    Not so with `init_std` above 0, nor with the design self_ext, which reads the prior at once. Call it after the
    host's weights are loaded: the stateful encoder starts as copies of them. `forward` and `generate` keep their
    signatures and take one more keyword, `prior_index`, for batches whose prompts cannot tell which image is whose
    prior. New parameters have the host's device and type, and require gradients.

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
    blocks = [] if sve is None else stateful_blocks(parts, sve)
    if pvm is not None and pvm.layers is None:
        pvm = replace(pvm, layers=strided(len(parts.layers), parts.config.text_config.hidden_size))
    memories = {} if pvm is None else _memories(parts, pvm)

    attachment = Attachment(sve, pvm)
    reads_priors = sve is not None
    attachment.handles += CoreHook(parts.image_token, reads_priors=reads_priors).install(parts.core)
    if sve is not None:
        attachment.handles += insert_blocks(parts, blocks, sve)
        attachment.handles += TowerHook(parts).install(parts.tower)
    if pvm is not None:
        for index, memory in memories.items():
            _insert_memory(parts, index, memory)
        assert parts.image_token is not None  # a host with a decoder has a placeholder
        attachment.handles += PlaceholderHook(parts.image_token).install(parts.core)
        attachment.handles += DecoderHook(tuple(memories)).install(parts.decoder)
    if parts.image_token is not None:
        for module in model.modules():
            if parts.core in module.children() and callable(getattr(type(module), "generate", None)):
                module.generate = Generation(module, parts.image_token, reads_priors=reads_priors)  # type: ignore[assignment]
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
    remove_blocks(parts)
    if attachment.pvm is not None:
        _remove_memories(parts)
    del parts.core.interval_attachment
    return model


def own_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Our modules in `model`, found by class: "sve.<block>" and "pvm.<decoder layer>", in order."""
    parts = parts_of(model)
    found: dict[str, nn.Module] = {}
    for index, block in enumerate(parts.blocks):
        if isinstance(block, StatefulBlock) and block.cross_image is not None:
            found[f"sve.{index}"] = block.cross_image
    if parts.host.decoder is not None:
        for index, layer in enumerate(parts.layers):
            if isinstance(layer, RememberingBlock):
                found[f"pvm.{index}"] = getattr(layer.base_layer, parts.host.decoder.ffn).memory
    return found


def own_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that `attach` added, by stable names ("sve.0.q_proj.weight", "pvm.8.gate_alpha").

    Where PEFT has wrapped one of our layers, its parameters are those of the layer inside, by the same names.
    """
    found = {}
    for name, module in own_modules(model).items():
        wrapped = [f"{path}." for path, part in module.named_modules() if path and hasattr(part, "base_layer")]
        for key, parameter in module.named_parameters():
            around = next((path for path in wrapped if key.startswith(path)), None)
            if around is None:
                found[f"{name}.{key}"] = parameter
            elif key.startswith(f"{around}base_layer."):
                found[f"{name}.{around}{key.removeprefix(f'{around}base_layer.')}"] = parameter
    return found


def _memories(parts: Parts, config: PVMConfig) -> dict[int, GatedBranch]:
    """The retrieval branch of each chosen layer, with nothing put into the host yet."""
    names = parts.decoder_names
    text = parts.config.text_config
    depth = len(parts.layers)
    layers = config.layers or ()
    if layers[-1] >= depth:
        raise AttachmentError(f"PVM layers are {layers}, but the host has {depth} decoder layers, from 0 on.")
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
    kind = VisualMemory if config.branch == "memory" else ParallelMLP
    memories: dict[int, GatedBranch] = {}
    for index in layers:
        layer = parts.layers[index]
        require(
            layer, (names.norm, names.ffn, *([] if names.after is None else [names.after])), f"Decoder layer {index}"
        )
        like = next(layer.parameters())
        memories[index] = kind(shape, config, device=like.device, dtype=like.dtype)
    return memories


def _insert_memory(parts: Parts, index: int, memory: GatedBranch) -> None:
    layer, names = parts.layers[index], parts.decoder_names
    norm, ffn = getattr(layer, names.norm), getattr(layer, names.ffn)
    after = None if names.after is None else getattr(layer, names.after)
    setattr(layer, names.ffn, FeedForwardWithMemory(ffn, norm, after, memory, index))
    setattr(layer, names.norm, nn.Identity())
    if names.after is not None:
        setattr(layer, names.after, nn.Identity())
    parts.layers[index] = RememberingBlock(layer)


def _remove_memories(parts: Parts) -> None:
    names = parts.decoder_names
    for index, layer in enumerate(parts.layers):
        if isinstance(layer, RememberingBlock):
            base = layer.base_layer
            ffn = getattr(base, names.ffn)
            setattr(base, names.norm, ffn.base_norm)
            if names.after is not None:
                setattr(base, names.after, ffn.base_after)
            setattr(base, names.ffn, ffn.base_layer)
            parts.layers[index] = base
