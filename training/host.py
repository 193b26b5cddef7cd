"""Which model does a run train: host, adapter and low-rank updates, put together from its settings?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import ConfigUnusable, TrainConfig
from training.groups import add_lora, freeze
from training.predict import CARD_FILE, ModelCard, embedded_folder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import ProcessorMixin


@dataclass(frozen=True)
class Built:
    """A model to train, on the CPU.

    Attributes:
        model: Host with our modules and, where asked for, low-rank updates; frozen as the settings say.
        processor: Of images and prompts.
        card: What serving must know of the result.
    """

    model: Any
    processor: ProcessorMixin
    card: ModelCard


def build(config: TrainConfig) -> Built:
    """The model of a run at its start: the same in every process, and each time it is built.

    Raises:
        ConfigUnusable: The settings do not fit the model, or it cannot be loaded.
    """
    import torch
    from transformers import AutoProcessor

    from models.errors import ModelsError
    from training.predict import load_model

    place = _place(config)
    torch.manual_seed(config.seed)
    try:
        model: Any = load_model(place) if isinstance(place, Path) else _from_hub(place)
        processor = AutoProcessor.from_pretrained(place)  # type: ignore[no-untyped-call]
        _attach(model, config)
    except (OSError, ValueError, ModelsError) as error:
        raise ConfigUnusable(f"The model {config.model!r} cannot be used: {error}") from error
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if config.lora is not None:
        model = add_lora(model, config.lora)
    freeze(model, config.frozen)
    return Built(model, processor, _card(place, config))


def load_values(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Puts the weights of a checkpoint into a model that was built anew, in place.

    Raises:
        ConfigUnusable: They are not those of this model.
    """
    import torch

    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    saved = {name.removeprefix("value/"): one for name, one in tensors.items() if name.startswith("value/")}
    if trained.keys() != saved.keys() or any(saved[name].shape != one.shape for name, one in trained.items()):
        raise ConfigUnusable("The checkpoint holds other weights than this model has: the model's folder has changed.")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])


def _place(config: TrainConfig) -> Path | str:
    """The folder of the model, or its name on the hub."""
    if not config.model:
        return embedded_folder()
    folder = Path(config.model)
    return folder if folder.is_dir() else config.model


def _from_hub(name: str) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(name, dtype=torch.float32)


def _attach(model: Any, config: TrainConfig) -> None:
    from models.attach import attach
    from models.config import PVMConfig, SVEConfig
    from models.parts import parts_of

    asked = config.sve is not None or config.pvm is not None
    if asked and parts_of(model).attachment is not None:
        raise ConfigUnusable("The model has its adapter already; leave out sve and pvm.")
    if asked:
        attach(
            model,
            sve=None if config.sve is None else SVEConfig.from_dict(config.sve),
            pvm=None if config.pvm is None else PVMConfig.from_dict(config.pvm),
        )


def _card(place: Path | str, config: TrainConfig) -> ModelCard:
    """That of the model's folder; or a new one, of a host that has none."""
    if isinstance(place, Path) and (place / CARD_FILE).is_file():
        if config.image_size is not None:
            raise ConfigUnusable(f"The model has a {CARD_FILE}, which says its image size; leave out image_size.")
        return ModelCard.read(place)
    if config.image_size is None:
        raise ConfigUnusable(f"The model has no {CARD_FILE}; give image_size, the side of its images in pixels.")
    return ModelCard(
        name=Path(config.model).name,
        trained_on_real_images=True,
        supported_views=("PA", "AP"),
        image_size=config.image_size,
        chip_size=config.image_size,
    )


def export(built: Built, state: Mapping[str, Tensor], config: TrainConfig, folder: Path) -> None:
    """Writes a trained model as a folder of ours: host, adapter, processor and card; low-rank updates are merged.

    Args:
        built: Built anew from the same settings; it is used up.
        state: The trained weights, as `value/NAME`.
        config: The run's settings.
        folder: Made if it does not exist.
    """
    import torch

    from models.attach import detach, own_modules
    from models.checkpoint import save_adapter
    from models.parts import parts_of

    load_values(built.model, state)
    model = built.model
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    folder.mkdir(parents=True, exist_ok=True)
    if parts_of(model).attachment is not None:
        for module in own_modules(model).values():
            module.to(dtype)
        save_adapter(model, folder)
        detach(model)
    if config.lora is not None:
        model = model.merge_and_unload()  # without our blocks, which PEFT would take for its own
    torch.nn.Module.to(model, dtype)
    model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    (folder / CARD_FILE).write_text(built.card.to_json(), encoding="utf-8")
    settings = json.dumps(config.to_dict(), indent=2)
    (folder / "recipe.json").write_text(f"{settings}\n", encoding="utf-8")
