"""How do the host's own calls tell our modules about images, priors and memory?"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from models.cross_plan import batch_plan, cross_plan, packed_plan
from models.errors import UnresolvedPrior, UnsupportedInput
from models.memory_cache import recall, remember
from models.memory_pass import current_pass, current_visual, memory_pass, pass_of, visual_positions
from models.parts import Parts
from models.predecessor import GivenOrder, PromptOrder, current_order, image_order

Call = tuple[tuple[Any, ...], dict[str, Any]]

#: Scopes that are open at this point, each with the hook that opened it; per thread and task, so calls do not meet.
_open: ContextVar[tuple[tuple[object, AbstractContextManager[None]], ...]] = ContextVar("interval_open", default=())


CACHED_TURN = (
    "New images follow a cached conversation, whose images are not here to be read as priors; give the whole "
    "conversation without a cache, or an explicit prior_index."
)
PACKED_ROWS = (
    "Several samples are packed into one row, so the row does not tell which images belong together; give an explicit "
    "prior_index."
)


class CallScope:
    """Hook for something that holds from the start of a module's forward to its end, errors included."""

    def install(self, module: nn.Module) -> list[RemovableHandle]:
        """Puts the hook on a module; the handles take it off."""
        return [
            module.register_forward_pre_hook(self.before, with_kwargs=True),
            # Prepended: of two scopes on one module, the one that was opened last is closed first.
            module.register_forward_hook(self.after, prepend=True, with_kwargs=True, always_call=True),
        ]

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Runs before the module's forward; may change its arguments."""
        raise NotImplementedError

    def after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Runs after the module's forward, with None as output when it raised."""
        self.leave()

    def enter(self, scope: AbstractContextManager[None]) -> None:
        """Opens a scope until `leave`."""
        scope.__enter__()
        _open.set((*_open.get(), (self, scope)))

    def leave(self) -> None:
        """Closes the scope that this hook opened last; nothing when it raised before it could."""
        scopes = _open.get()
        if scopes and scopes[-1][0] is self:
            _open.set(scopes[:-1])
            scopes[-1][1].__exit__(None, None, None)


class CoreHook(CallScope):
    """On the multimodal core, or on a tower alone: works out which image is whose prior.

    Args:
        image_token: Id of the image placeholder; None for a tower alone, where only a `prior_index` can tell.
        reads_priors: Whether anything attached asks for the order; without, `prior_index` is taken and not used.
    """

    def __init__(self, image_token: int | None, *, reads_priors: bool) -> None:
        self.image_token = image_token
        self.reads_priors = reads_priors

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Takes `prior_index` out of the arguments and makes the order of images hold."""
        given = named_arguments(module, args, kwargs)
        kwargs.pop("prior_index", None)
        refuse_videos(given)
        if not self.reads_priors:
            return args, kwargs
        if (prior_index := given.get("prior_index")) is not None:
            self.enter(image_order(GivenOrder.of(prior_index)))
        elif self.image_token is None or given.get("pixel_values") is None:
            return args, kwargs
        elif not isinstance(current_order(), GivenOrder):
            if cached_length(given.get("past_key_values")):
                raise UnresolvedPrior(CACHED_TURN)
            if given.get("cu_seq_lens_q") is not None:
                raise UnresolvedPrior(PACKED_ROWS)
            self.enter(image_order(PromptOrder(given.get("input_ids"), self.image_token)))
        return args, kwargs


class TowerHook(CallScope):
    """On the vision tower: makes the plan of who reads whom, for all blocks of this call."""

    def __init__(self, parts: Parts) -> None:
        self.grid = parts.host.tower.grid
        self.merge_size = parts.merge_size
        self.image_length = parts.image_length

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Makes the plan hold until the tower's end."""
        given = named_arguments(module, args, kwargs)
        if self.grid is not None and self.merge_size is not None:
            plan = packed_plan(given[self.grid], self.merge_size)
        else:
            # A tower alone has no placeholders to be compared with.
            plan = batch_plan(len(given["pixel_values"]), self.image_length or 1)
        self.enter(cross_plan(plan))
        return args, kwargs


class PlaceholderHook(CallScope):
    """On the multimodal core: tells the decoder which positions of this call get the features of images."""

    def __init__(self, image_token: int) -> None:
        self.image_token = image_token

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Looks for the placeholders as the host does."""
        given = named_arguments(module, args, kwargs)
        encoded = (given.get("mm_encoder_outputs") or {}).get("image")  # `generate` encodes before the first forward
        visual: Tensor | None = None
        if given.get("pixel_values") is not None or encoded is not None:
            ids, embeds = given.get("input_ids"), given.get("inputs_embeds")
            if ids is not None:
                visual = ids == self.image_token
            elif embeds is not None:
                core: Any = module
                token = torch.tensor(self.image_token, device=embeds.device)
                visual = (embeds == core.get_input_embeddings()(token)).all(-1)
        self.enter(visual_positions(visual))
        return args, kwargs


class DecoderHook(CallScope):
    """On the text decoder: makes the visual memory of this forward hold, and keeps it with the cache afterwards."""

    def __init__(self, layers: tuple[int, ...]) -> None:
        self.layers = layers

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Collects the visual tokens of this forward and the memories of earlier ones."""
        given = named_arguments(module, args, kwargs)
        embeds, visual = given.get("inputs_embeds"), current_visual()
        cache = given.get("past_key_values")
        seen = cached_length(cache)
        past = recall(cache, self.layers) if seen else {}
        active = None
        if embeds is not None and (visual is not None or past):
            keep = not (module.training and getattr(module, "gradient_checkpointing", False))
            active = pass_of(embeds, visual, past, seen, keep=keep)
        self.enter(memory_pass(active))
        return args, kwargs

    def after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Moves the memories of this forward into its cache."""
        active = current_pass()
        self.leave()
        if active is not None and active.made and output is not None:
            cache = getattr(output, "past_key_values", None) or kwargs.get("past_key_values")
            if cache is not None:
                remember(cache, active.made)


class Generation:
    """Stands in for a model's `generate`, which encodes images before any forward has seen the prompt.

    An attribute of the model, so a copy of the model gets its own.
    """

    def __init__(self, model: nn.Module, image_token: int, *, reads_priors: bool) -> None:
        self.model = model
        self.image_token = image_token
        self.reads_priors = reads_priors

    def __call__(self, *args: Any, prior_index: Any = None, **kwargs: Any) -> Any:
        """The model's own `generate`; `prior_index` names each image's prior where the prompt cannot tell it."""
        original: Any = type(self.model).generate  # type: ignore[attr-defined]
        refuse_videos(kwargs)
        if kwargs.get("pixel_values") is None or not self.reads_priors:
            return original(self.model, *args, **kwargs)
        prompt = kwargs.get("input_ids", kwargs.get("inputs", args[0] if args else None))
        order = PromptOrder(prompt, self.image_token) if prior_index is None else GivenOrder.of(prior_index)
        if prior_index is None and cached_length(kwargs.get("past_key_values")):
            raise UnresolvedPrior(CACHED_TURN)
        with image_order(order):
            return original(self.model, *args, **kwargs)


def named_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call by name, the positional ones included."""
    if not args:
        return dict(kwargs)
    names = inspect.signature(module.forward).parameters
    return {**dict(zip(names, args, strict=False)), **kwargs}


def cached_length(cache: Any) -> int:
    """Positions in a generation's cache, 0 without one."""
    return 0 if cache is None else int(cache.get_seq_length())


def refuse_videos(given: Mapping[str, Any]) -> None:
    """Raises `UnsupportedInput` when a call brings a video."""
    if given.get("pixel_values_videos") is not None:
        raise UnsupportedInput("Videos are not supported, as it is open what a frame's prior is; give still images.")
