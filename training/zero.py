"""How do several processes train one model? With DeepSpeed, which spreads moments (ZeRO-2) and weights (ZeRO-3)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import ConfigUnusable, TrainConfig
from training.engine import KEPT, make_optimizer, set_rates

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def join_processes(timeout_minutes: float) -> None:
    """Connects the processes that torchrun, DeepSpeed's launcher or SLURM started; nccl on GPUs, gloo on CPUs."""
    import deepspeed
    import torch

    # DeepSpeed looks at the machine: a CPU with its own communication kernels would need a compiler and oneCCL
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    deepspeed.init_distributed(backend, timeout=timedelta(minutes=timeout_minutes), verbose=False)


def zero_settings(stage: int, config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's configuration: that of the package for the stage, or the run's own, with what the run's settings say.

    Raises:
        ConfigUnusable: The run's own configuration cannot be read.
    """
    if config.zero_config is None:
        text = files("training").joinpath(f"configs/zero{stage}.json").read_text(encoding="utf-8")
    else:
        try:
            text = Path(config.zero_config).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigUnusable(f"{Path(config.zero_config).name} cannot be read: {error.strerror}.") from error
    try:
        settings: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ConfigUnusable(f"The configuration of DeepSpeed is not JSON: {error}.") from error
    settings |= {
        # samples are dealt, counted and weighed by the loop; DeepSpeed only needs some number here
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": config.clip,
        "bf16": {"enabled": config.precision == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
    }
    return settings


class ZeroEngine:
    """One of several processes under DeepSpeed.

    With bf16 the model is bfloat16, and the weights that are updated are float32 and spread over the processes.

    Args:
        model: With the same weights in every process, on the CPU.
        config: The run's settings.
        stage: 2 or 3.
    """

    def __init__(self, model: Any, config: TrainConfig, stage: int) -> None:
        import deepspeed
        import torch

        self.rank = torch.distributed.get_rank()
        self.world = torch.distributed.get_world_size()
        self.is_split = stage == 3
        self._settings = zero_settings(stage, config)
        self._dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self._trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        engine, *_ = deepspeed.initialize(
            model=model, optimizer=make_optimizer(model, config), config=dict(self._settings)
        )
        self.model = engine
        self._make_moments()

    @property
    def device(self) -> torch.device:
        """That of this process."""
        device: torch.device = self.model.device
        return device

    def computing(self) -> AbstractContextManager[Any]:
        """Nothing to do: the weights have the precision already."""
        return nullcontext()

    def whole(self, parameters: Sequence[nn.Parameter]) -> AbstractContextManager[Any]:
        """Gathers what ZeRO-3 has spread."""
        import deepspeed

        gathered: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(
            list(parameters), enabled=self.is_split
        )
        return gathered

    def cast(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs on the device; images in the precision."""
        return {
            name: value.to(self.device, self._dtype if value.is_floating_point() else value.dtype)
            for name, value in inputs.items()
        }

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Adds the gradient; after the last micro-batch the processes exchange theirs.

        DeepSpeed takes the mean over processes, and the shares of the loss make it up as a sum.
        """
        self.model.set_gradient_accumulation_boundary(is_last)
        self.model.backward(loss * self.world, scale_wrt_gas=False)

    def update(self, factor: float) -> float:
        """Updates the weights of this process's part, and spreads them."""
        set_rates(self.model.optimizer, factor)
        self.model.step()
        return float(self.model.get_global_grad_norm())

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        import torch

        summed = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and moments, gathered one by one."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        for name, parameter in self._trained.items():
            yield f"value/{name}", safe_get_full_fp32_param(parameter)
            for key in KEPT[1:]:
                yield f"{key}/{name}", safe_get_full_optimizer_state(parameter, key)

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Weights in float32, moments and their number of updates, each process its part."""
        for moments in self.model.optimizer.optimizer.state.values():
            moments["step"].fill_(updates)
        for name, parameter in self._trained.items():
            for key in KEPT:
                if f"{key}/{name}" in state:
                    self._set(parameter, key, state[f"{key}/{name}"].to(self.device))

    def _make_moments(self) -> None:
        """Moments of all weights, at zero, as AdamW makes them at its first update.

        ZeRO-2 finds the moments of a parameter by a table that DeepSpeed makes when the first group of weights is
        updated, and the other groups have none then.
        """
        import torch

        zero = self.model.optimizer
        # the float32 weights of this process, as AdamW sees them
        for flat in zero.fp32_partitioned_groups_flat if self.is_split else zero.single_partition_of_fp32_groups:
            moments = {key: torch.zeros_like(flat) for key in KEPT[1:]}
            zero.optimizer.state[flat] = {"step": torch.tensor(0.0), **moments}
        if not self.is_split:
            zero._lazy_init_hp_params_optimizer_state()

    def _set(self, parameter: nn.Parameter, key: str, value: Tensor) -> None:
        """One tensor of a parameter, from its whole value."""
        import torch
        from deepspeed import utils

        if not self.is_split:
            if key == "value":
                utils.safe_set_full_fp32_param(parameter, value)
            else:
                utils.safe_set_full_optimizer_state(parameter, value, key)
            return
        size = utils.safe_get_local_fp32_param(parameter).numel()
        # equal parts, the last filled up with zeros
        padded = torch.nn.functional.pad(value.flatten(), (0, size * self.world - value.numel()))
        part = padded[size * self.rank : size * (self.rank + 1)]
        if key == "value":
            utils.safe_set_local_fp32_param(parameter, part)
        else:
            utils.safe_set_local_optimizer_state(parameter, part, key)

    def reference(self, model: Any) -> Any:
        """The model without gradients, spread over the processes like the trained one."""
        import deepspeed
        import torch

        model.requires_grad_(False).eval()
        if not self.is_split:
            return torch.nn.Module.to(model, self.device, self._dtype)
        engine, *_ = deepspeed.initialize(model=model, config=dict(self._settings))
        return engine

    def close(self) -> None:
        """Ends the connection to the other processes."""
        import torch

        torch.distributed.destroy_process_group()
