"""How are gradients gathered and weights updated: in one process here, over several in `training.zero`?

Both keep weights and moments of AdamW in float32 and give and take them whole, by the parameter's name, so that a
checkpoint of one loads into the other, and into any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from training.config import TrainConfig
from training.groups import optimizer_groups

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: What is kept of each trained parameter: itself and the two moments of AdamW.
KEPT: Final = ("value", "exp_avg", "exp_avg_sq")


class Engine(Protocol):
    """What a training loop needs of the processes that train.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
        model: What is called; its weights may be spread over the processes.
    """

    rank: int
    world: int
    model: Any

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        ...

    @property
    def is_split(self) -> bool:
        """Whether every process must call the model equally often, also without gradients."""
        ...

    def computing(self) -> AbstractContextManager[Any]:
        """Within it the model computes in its precision."""
        ...

    def whole(self, parameters: Sequence[nn.Parameter]) -> AbstractContextManager[Any]:
        """Within it these parameters can be read in every process."""
        ...

    def cast(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs of the model on its device, in its precision."""
        ...

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Adds the gradient of this process's share of the loss; `is_last` of its micro-batches."""
        ...

    def update(self, factor: float) -> float:
        """Updates the weights with this share of the peak rates; the norm of the gradient, before it was clipped."""
        ...

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        ...

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """`value/NAME`, `exp_avg/NAME` and `exp_avg_sq/NAME` of each trained parameter, whole, in float32.

        Every process must go through all of it; the first one gets the tensors, the others may get empty ones.
        """
        ...

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Takes what `state` gave after so many updates. The values must be in the model already when it is made."""
        ...

    def reference(self, model: Any) -> Any:
        """A second model, ready to be called without gradients."""
        ...

    def close(self) -> None:
        """Ends the connection to the other processes."""
        ...


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the trained parameters."""
    import torch

    groups = optimizer_groups(model, config)
    return torch.optim.AdamW(groups, lr=config.rate, betas=config.betas, eps=config.epsilon)


def set_rates(optimizer: Any, factor: float) -> None:
    """Each group's peak rate times the factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


class SingleEngine:
    """One process: weights in float32, which bfloat16 copies are made of where the model computes in that."""

    rank = 0
    world = 1
    is_split = False

    def __init__(self, model: Any, config: TrainConfig, device: torch.device) -> None:
        import torch

        torch.nn.Module.to(model, device)
        self.model = model
        self.device = device
        self._config = config
        self._trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self._optimizer = make_optimizer(model, config)

    def computing(self) -> AbstractContextManager[Any]:
        """Autocast, for bf16."""
        import torch

        if self._config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def whole(self, parameters: Sequence[nn.Parameter]) -> AbstractContextManager[Any]:
        """Nothing to do."""
        return nullcontext()

    def cast(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs on the device."""
        return {name: value.to(self.device) for name, value in inputs.items()}

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Adds the gradient."""
        loss.backward()  # type: ignore[no-untyped-call]

    def update(self, factor: float) -> float:
        """Clips, updates and forgets the gradient."""
        import torch

        limit = self._config.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self._trained.values(), limit)
        if torch.isfinite(norm):
            set_rates(self._optimizer, factor)
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def total(self, values: Sequence[float]) -> list[float]:
        """The values."""
        return list(values)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and moments, by name."""
        for name, parameter in self._trained.items():
            moments = self._optimizer.state[parameter]
            yield f"value/{name}", parameter.detach()
            # a parameter that never had a gradient has no moments
            if moments:
                yield f"exp_avg/{name}", moments["exp_avg"]
                yield f"exp_avg_sq/{name}", moments["exp_avg_sq"]

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Moments and their number of updates."""
        import torch

        for name, parameter in self._trained.items():
            if f"exp_avg/{name}" in state:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(updates)),
                    **{key: state[f"{key}/{name}"].to(parameter.device, copy=True) for key in KEPT[1:]},
                }

    def reference(self, model: Any) -> Any:
        """The model on the device, without gradients."""
        import torch

        torch.nn.Module.to(model, self.device)
        return model.requires_grad_(False).eval()

    def close(self) -> None:
        """Nothing to do."""
