"""What decides a training run, and how is it read from a file?"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from training.errors import TrainingError

#: Parts of a model that are frozen, and have learning rates, as a whole; see `training.groups`.
GROUPS: Final = ("tower", "projector", "decoder", "sve", "pvm", "lora")

#: Settings that a run may change when it goes on: they do not touch what is computed.
FREE: Final = ("images", "keep", "log_every", "save_every", "timeout_minutes", "workers", "micro_batch", "micro_tokens")


class Method(StrEnum):
    """How a model is trained."""

    SFT = "sft"
    GRPO = "grpo"


class ConfigUnusable(TrainingError, ValueError):
    """The settings of a run cannot be used; the message names the setting and what is expected."""


@dataclass(frozen=True, kw_only=True)
class LoRASettings:
    """Low-rank updates of the host's linear layers (PEFT); our own modules are trained in full.

    Attributes:
        rank: Rank of each update.
        alpha: An update is scaled by alpha / rank.
        dropout: Before the first of the two matrices.
        groups: Parts of the host that get them.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    groups: tuple[str, ...] = ("decoder",)


@dataclass(frozen=True, kw_only=True)
class GRPOSettings:
    """Settings of `training.grpo`.

    Attributes:
        group: Answers sampled for each pair.
        temperature: Of the sampling.
        top_p: Of the sampling.
        max_new_tokens: Longest answer; one that does not end by then takes no part in the loss.
        clip: Half width of the interval around 1 that a probability ratio is clipped to.
        kl: Weight of the divergence from the model at the start; 0 keeps no copy of it.
        updates: Updates on each batch of answers.
        average: "token": all tokens of a step weigh the same; "sequence": all answers do.
        finding: Weight of the F1 of findings in the reward.
        direction: Weight of the share of changes with the right direction.
        form: Weight of an answer that can be read as a whole.

    Source: arXiv 2605.00814, stage II, and its code at commit 8d784fe.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    group: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 192
    clip: float = 0.2
    kl: float = 0.0
    updates: int = 1
    average: Literal["token", "sequence"] = "token"
    finding: float = 0.6
    direction: float = 0.3
    form: float = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the result beside the code and the data.

    Attributes:
        method: How a model is trained; the command says it.
        data: Folder of a labelled data set, see `training.readers.folder`; its training split is used.
        images: Folder of the images, for sets that hold none.
        compare_files: Also look for equal images under different names in two splits.
        model: A folder of ours, a folder of transformers, or a name on its hub; empty for the embedded model.
        image_size: Side of the model's square images; needed where the model's folder has no card.
        sve: Settings of the stateful encoder to attach, as in `models.config`; none for a model that has its adapter.
        pvm: Likewise of the visual memory.
        frozen: Parts that are not trained, of `GROUPS`. Stage I of the visual memory: all but "pvm".
        lora: Low-rank updates in the place of full training of the host.
        gradient_checkpointing: Recompute activations in the backward pass.
        precision: "bf16" computes in bfloat16 and keeps and updates weights in float32.
        seed: Of the order of the samples, augmentation, dropout and sampling.
        steps: Updates; or `epochs`.
        epochs: Passes over the samples; or `steps`.
        batch: Samples of a step over all processes and micro-batches; prompts in GRPO.
        micro_batch: Most samples (answers in GRPO) that a process computes at once.
        micro_tokens: Most tokens, padding included, that a process computes at once; None for no limit. SFT only.
        max_tokens: Longer samples are left out and counted; None for no limit. SFT only.
        rate: Peak learning rate.
        rates: Peak learning rates of parts that have their own.
        schedule: "cosine" to zero, or "constant".
        warm_up: Share of the steps with a rate that grows from zero.
        weight_decay: Of AdamW, on matrices only.
        betas: Of AdamW.
        epsilon: Of AdamW.
        clip: Largest norm of the gradient; 0 for no limit.
        augment: Move, turn and expose the images of a pair at random, see `training.augment`.
        zero: Stage of ZeRO; None for 2 (SFT) or 3 (GRPO) where there are several processes, and no DeepSpeed for one.
        zero_config: A configuration of DeepSpeed in the place of ours.
        timeout_minutes: How long a process waits for the others before it gives them up.
        save_every: Steps between two checkpoints.
        keep: Checkpoints that are kept.
        log_every: Steps between two lines of metrics.
        workers: Threads that load images.
        grpo: Settings of GRPO.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    data: str
    method: Method = Method.SFT
    images: str | None = None
    compare_files: bool = False
    model: str = ""
    image_size: int | None = None
    sve: dict[str, Any] | None = None
    pvm: dict[str, Any] | None = None
    frozen: tuple[str, ...] = ()
    lora: LoRASettings | None = None
    gradient_checkpointing: bool = False
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: int = 42
    steps: int | None = None
    epochs: float | None = None
    batch: int = 64
    micro_batch: int = 8
    micro_tokens: int | None = None
    max_tokens: int | None = None
    rate: float = 1.5e-5
    rates: dict[str, float] = field(default_factory=dict)
    schedule: Literal["cosine", "constant"] = "cosine"
    warm_up: float = 0.1
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip: float = 1.0
    augment: bool = False
    zero: Literal[0, 2, 3] | None = None
    zero_config: str | None = None
    timeout_minutes: float = 30.0
    save_every: int = 100
    keep: int = 2
    log_every: int = 1
    workers: int = 4
    grpo: GRPOSettings = field(default_factory=GRPOSettings)

    def __post_init__(self) -> None:
        lora = () if self.lora is None else self.lora.groups
        for group in (*self.frozen, *self.rates, *lora):
            if group not in GROUPS:
                raise ConfigUnusable(f"{group!r} is no part of a model; the parts are {', '.join(GROUPS)}.")
        if (self.steps is None) == (self.epochs is None):
            raise ConfigUnusable("Give either steps or epochs.")
        positive = ("steps", "epochs", "batch", "micro_batch", "micro_tokens", "max_tokens", "save_every", "keep")
        for name in (*positive, "log_every", "workers", "image_size", "timeout_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigUnusable(f"{name} is {value}; give a number above 0.")
        for name in ("rate", "warm_up", "weight_decay", "clip", "epsilon"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigUnusable(f"{name} is {value}; give a finite number that is not negative.")
        if self.micro_tokens is not None and (self.max_tokens is None or self.max_tokens > self.micro_tokens):
            raise ConfigUnusable("micro_tokens needs a max_tokens that is not larger: else one sample would not fit.")
        if self.grpo.group < 2:
            raise ConfigUnusable("grpo.group is below 2: an answer is judged beside others to the same pair.")

    def n_steps(self, samples: int) -> int:
        """How many updates the run has on a data set of so many samples."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None  # checked above
        return max(1, math.ceil(self.epochs * samples / self.batch))

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The settings in a TOML file, with `key=value` pairs in the place of what stands there.

    A key of a table is written `pvm.layers=[8, 16, 24]`; what is no TOML value is taken for a text.

    Raises:
        ConfigUnusable: The file cannot be read, a key is unknown, or a value is not what it should be.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigUnusable(f"{path.name} cannot be read as text.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigUnusable(f"{path.name} is not TOML: {error}.") from error
    for override in overrides:
        key, found, value = override.partition("=")
        if not found:
            raise ConfigUnusable(f"{override!r} is no key=value.")
        *tables, last = key.strip().split(".")
        place = values
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ConfigUnusable(f"{table!r} in {key.strip()!r} is no table.")
        place[last] = _value(value.strip())
    return config_of(values)


def config_of(values: Mapping[str, Any]) -> TrainConfig:
    """The settings out of JSON or TOML values.

    Raises:
        ConfigUnusable: A key is unknown or missing, or a value is not what it should be.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(TrainConfig).validate_python(dict(values))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigUnusable(f"Settings: {told}.") from error


def differing(saved: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """Settings that decide the result and are not those that were saved."""
    own = config_of(saved)
    return [
        one.name
        for one in fields(config)
        if one.name not in FREE and getattr(own, one.name) != getattr(config, one.name)
    ]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
