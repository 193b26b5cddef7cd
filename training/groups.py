"""Which part of a model does each parameter belong to, and how is each part trained?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from training.config import ConfigUnusable, LoRASettings, TrainConfig
from training.schedule import warm_cosine

if TYPE_CHECKING:
    from torch import nn

#: Modules between vision tower and decoder, whatever the family calls them.
_PROJECTORS: Final = frozenset({"merger", "deepstack_merger_list", "multi_modal_projector"})


def group_of_each(model: nn.Module) -> dict[str, str]:
    """The group of each parameter of a model, by its name; see `training.config.GROUPS`."""
    from models.attach import own_parameters
    from models.parts import parts_of

    parts = parts_of(model)
    own = {} if parts.attachment is None else own_parameters(model)
    ours = {id(parameter): name.partition(".")[0] for name, parameter in own.items()}
    tower = {id(parameter) for parameter in parts.tower.parameters()}
    groups = {}
    for name, parameter in model.named_parameters():
        words = set(name.split("."))
        if id(parameter) in ours:
            groups[name] = ours[id(parameter)]
        elif any(word.startswith("lora_") for word in words):
            groups[name] = "lora"
        elif words & _PROJECTORS:
            groups[name] = "projector"
        else:
            groups[name] = "tower" if id(parameter) in tower else "decoder"
    return groups


def freeze(model: nn.Module, frozen: tuple[str, ...]) -> None:
    """Leaves gradients to all parameters but those of the frozen groups; with LoRA, the host's own are frozen, too.

    Raises:
        ConfigUnusable: Nothing is left to train, or a frozen group has no parameter.
    """
    groups = group_of_each(model)
    held = set(groups.values())
    absent = sorted(set(frozen) - held)
    if absent:
        raise ConfigUnusable(f"This model has no {' and no '.join(absent)} to freeze.")
    has_lora = "lora" in held
    for name, parameter in model.named_parameters():
        group = groups[name]
        is_host = group not in ("sve", "pvm", "lora")
        parameter.requires_grad_(group not in frozen and not (has_lora and is_host))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigUnusable("Every part of the model is frozen, so there is nothing to train.")


def add_lora(model: Any, settings: LoRASettings) -> Any:
    """The model in a PEFT wrapper with low-rank updates on the linear layers of the chosen groups, ours left out.

    Raises:
        ConfigUnusable: The groups have no linear layer, or PEFT is not installed.
    """
    from torch import nn

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ConfigUnusable("LoRA needs PEFT: install interval-change[lora].") from error
    groups = group_of_each(model)
    head = model.get_output_embeddings()
    chosen = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and groups.get(f"{name}.weight") in settings.groups
    ]
    if not chosen:
        raise ConfigUnusable(f"{', '.join(settings.groups)} has no linear layer for LoRA.")
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=chosen
    )
    return get_peft_model(model, config)


def optimizer_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """What AdamW is given: the trained parameters by group, matrices with decay, each with its peak rate as `peak`."""
    groups = group_of_each(model)
    found: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault((groups[name], parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": config.rates.get(group, config.rate),
            "lr": config.rates.get(group, config.rate),
            "weight_decay": config.weight_decay if is_matrix else 0.0,
            "name": group,
        }
        for (group, is_matrix), parameters in sorted(found.items(), key=lambda item: item[0])
    ]


def rate_factor(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the peak rates at a step, counted from 0: a function of the step alone, so nothing of it is saved."""
    warm = round(steps * config.warm_up)
    if config.schedule == "constant" and step >= warm:
        return 1.0
    return warm_cosine(step, warm=warm, steps=steps)
