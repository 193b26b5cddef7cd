"""How is a prior encoded once, and read by every later current?"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.cross_plan import Trace, TracedOrder
from models.errors import AttachmentError, UnsupportedInput
from models.parts import parts_of
from models.predecessor import image_order

#: What a cache holds at most, in bytes.
MAX_BYTES: Final = 4 * 2**30


@dataclass(frozen=True)
class EncodedImage:
    """One image after the vision tower.

    Attributes:
        trace: What later images read of it: its tokens at the entrance of every block.
        tokens: (n, E) for the decoder.
        deep: (n, E) each, for hosts whose tower hands on earlier layers too.
        kind: Class of the tower's output.
        key: Says what this depends on: weights, type, pixels and its own prior.
    """

    trace: Trace
    tokens: Tensor
    deep: tuple[Tensor, ...]
    kind: type[Any]
    key: str

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        rotary = self.trace.rotary or ()
        return sum(tensor.nbytes for tensor in (*self.trace.inputs, *rotary, self.tokens, *self.deep))


class PriorCache:
    """Encodes images, each against its prior, and keeps them while there is room.

    What is kept is each block's input, not keys and values: half the memory, the same for all designs, and projecting
    them again costs a current about a twelfth. A key is made of the tower's weights, type and autocast, of the pixels
    after all preprocessing, and of the prior's key; so an image that was encoded against a prior and the same image as
    the first of a sample are two entries. A model that was trained on pairs has seen priors of the second sort only:
    encode those without a prior of their own.

    The cache empties itself when a weight changes in place. Writes that PyTorch does not count (`parameter.data`) need
    `clear`.

    Args:
        model: A host with the stateful encoder attached, in evaluation.
        max_bytes: What is kept at most; the longest unused go first.

    Attributes:
        hits: Images that were found.
        misses: Images that went through the tower.
        nbytes: Memory that is held.

    Raises:
        AttachmentError: No stateful encoder is attached.
        UnsupportedInput: The design is self_ext, or the model is a tower alone.
    """

    def __init__(self, model: nn.Module, *, max_bytes: int = MAX_BYTES) -> None:
        self.parts = parts_of(model)
        attachment = self.parts.attachment
        if attachment is None or attachment.sve is None:
            raise AttachmentError("There is no stateful encoder on this model, so a prior changes nothing; attach one.")
        if attachment.sve.design == "self_ext":
            raise UnsupportedInput("self_ext cannot read a prior that was encoded before; encode the two together.")
        if self.parts.image_token is None:
            raise UnsupportedInput("A vision tower alone has no decoder to encode for; give the whole host.")
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self.nbytes = 0
        self._held: OrderedDict[str, EncodedImage] = OrderedDict()
        self._versions: tuple[int, ...] = ()
        self._weights = ""

    def clear(self) -> None:
        """Forgets everything, the weights' hash included."""
        self._held.clear()
        self.nbytes = 0
        self._versions = ()

    def encode(
        self, pixel_values: Tensor, grid_thw: Tensor | None = None, *, prior: EncodedImage | None = None
    ) -> EncodedImage:
        """One image, from the cache where it is there; see `encode_all`."""
        return self.encode_all([(pixel_values, grid_thw)], [prior])[0]

    @torch.no_grad()
    def encode_all(
        self, images: Sequence[tuple[Tensor, Tensor | None]], priors: Sequence[EncodedImage | None]
    ) -> list[EncodedImage]:
        """Several images that do not read each other: from the cache what is there, the others in one tower call.

        Args:
            images: Pixels and grid of each, as the host takes one image: patches (N, channels * patch) with a grid
                (1, 3), or (1, C, H, W) with None.
            priors: The image that each reads; None reads itself, as the first image of a sample does.

        Raises:
            UnsupportedInput: The model is in training.
            UnresolvedPrior: There are several images where one belongs.
        """
        if self.parts.tower.training:
            raise UnsupportedInput("What is encoded in training is outdated by the next step; call `model.eval()`.")
        keys = [self._key(*image, prior) for image, prior in zip(images, priors, strict=True)]
        found = {key: self._held[key] for key in keys if key in self._held}
        missing = {key: place for place, key in reversed([*enumerate(keys)]) if key not in found}
        self.misses += len(missing)
        self.hits += len(keys) - len(missing)
        if missing:
            places = sorted(missing.values())
            made = self._encode([images[place] for place in places], [priors[place] for place in places])
            for place, (trace, tokens, deep, kind) in zip(places, made, strict=True):
                found[keys[place]] = EncodedImage(trace, tokens, deep, kind, keys[place])
        self.nbytes += sum(found[key].nbytes for key in missing)
        for key in keys:
            self._held[key] = found[key]
            self._held.move_to_end(key)
        while len(self._held) > 1 and self.nbytes > self.max_bytes:
            _, oldest = self._held.popitem(last=False)
            self.nbytes -= oldest.nbytes
        return [found[key] for key in keys]

    def _encode(
        self, images: Sequence[tuple[Tensor, Tensor | None]], priors: Sequence[EncodedImage | None]
    ) -> list[tuple[Trace, Tensor, tuple[Tensor, ...], type[Any]]]:
        """What the tower makes of images: trace, tokens, deep tokens and the class of its output."""
        traces: list[Trace] = []
        core: Any = self.parts.core
        arguments = [torch.cat([pixels for pixels, _ in images])]
        grids = [grid for _, grid in images if grid is not None]
        if grids:
            arguments.append(torch.cat(grids))
        with image_order(TracedOrder([None if prior is None else prior.trace for prior in priors], traces)):
            output = core.get_image_features(*arguments, return_dict=True)
        tokens = [_own(part) for part in output.pooler_output]
        lengths = [len(part) for part in tokens]
        # Families hand on a layer as one tensor for all images, or as one for each.
        layers = [
            layer if isinstance(layer, Tensor) else torch.cat(list(layer))
            for layer in output.get("deepstack_features") or ()
        ]
        deep = zip(*([_own(part) for part in torch.split(layer, lengths)] for layer in layers), strict=True)
        deeps = list(deep) if layers else [()] * len(images)
        return [(*made, type(output)) for made in zip(traces, tokens, deeps, strict=True)]

    def _key(self, pixels: Tensor, grid: Tensor | None, prior: EncodedImage | None) -> str:
        device = pixels.device.type
        autocast = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else ""
        text = f"{self._weights_hash()}|{autocast}|{None if grid is None else grid.tolist()}|{prior and prior.key}"
        digest = hashlib.sha256(text.encode())
        _update(digest, pixels)
        return digest.hexdigest()

    def _weights_hash(self) -> str:
        """Hash of the tower's weights, ours included; made again when one of them was changed in place."""
        named = list(self.parts.tower.named_parameters())
        versions = tuple(number for _, p in named for number in (p._version, p.data_ptr()))
        if versions != self._versions:
            self.clear()
            digest = hashlib.sha256()
            for name, parameter in named:
                digest.update(name.encode())
                _update(digest, parameter.detach())
            self._versions, self._weights = versions, digest.hexdigest()
        return self._weights


def decoder_features(images: Sequence[EncodedImage]) -> dict[str, Any]:
    """What `forward` and `generate` take as `mm_encoder_outputs` in place of `pixel_values`.

    Args:
        images: All images of a batch, in conversation order over all samples.
    """
    kind = images[0].kind
    parts: dict[str, Any] = {"pooler_output": [image.tokens for image in images]}
    if images[0].trace.rotary is None:
        parts["pooler_output"] = torch.stack(parts["pooler_output"])  # towers of one image size hand on a batch
    if images[0].deep:
        parts["deepstack_features"] = [list(layer) for layer in zip(*(image.deep for image in images), strict=True)]
    return {"image": kind(**parts)}


def _own(part: Tensor) -> Tensor:
    """A part of a larger tensor in storage of its own, or what is kept of one image would keep them all."""
    return part if part.untyped_storage().nbytes() == part.nbytes else part.clone()


def _update(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().data)
