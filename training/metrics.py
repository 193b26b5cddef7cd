"""What is kept of a training run, step by step: one JSON object a line, the gates of the visual memory among it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerCallback


class MetricsUnusable(TrainingError, ValueError):
    """A file of metrics has a line that is not one of ours, or no gates; give one that a training run wrote."""


def append_metrics(path: Path, step: int, model: nn.Module, **values: float) -> None:
    """Appends one line: the step, the values by name, and the gates by layer ("pvm.8")."""
    from models.gates import gate_values

    line = json.dumps({"step": step, **values, "gates": gate_values(model)})
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def read_gates(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """The steps of a run and each layer's gate at them.

    Raises:
        MetricsUnusable: A line is not JSON, lacks step or gates, or has other layers than the first.
    """
    steps: list[int] = []
    gates: dict[str, list[float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            content = json.loads(line)
            step, held = int(content["step"]), {str(name): float(value) for name, value in content["gates"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MetricsUnusable(
                f"Line {number} of {path.name} has no step and gates; it is no line of ours."
            ) from error
        if steps and set(held) != set(gates):
            raise MetricsUnusable(f"Line {number} of {path.name} has gates of other layers than the lines before.")
        steps.append(step)
        for name, value in held.items():
            gates.setdefault(name, []).append(value)
    if not gates:
        raise MetricsUnusable(f"{path.name} has no gates: the run had no visual memory, or has not begun.")
    return steps, gates


def metrics_callback(path: Path) -> TrainerCallback:
    """A callback for transformers' Trainer that appends a line whenever it logs."""
    from transformers import TrainerCallback

    class Metrics(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **_: Any) -> None:
            """Appends a line, in the first process only."""
            if state.is_world_process_zero:
                numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, int | float)}
                append_metrics(path, state.global_step, model, **numbers)

    return Metrics()
