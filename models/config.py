"""Which modules enter a host, and with which settings?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from models.errors import InvalidConfig

#: Designs of the stateful encoder that `attach` can build. Source: arXiv 2606.04433, appendix E, table 17.
DESIGNS: Final = ("cross_ffn",)


@dataclass(frozen=True, kw_only=True)
class SVEConfig:
    """Settings of the stateful visual encoder.

    Attributes:
        design: How the prior's features enter a vision block; one of `DESIGNS`.
        init_std: Standard deviation of W_O and W_2 at the start. 0 makes `attach` an exact no-op; the paper takes 1e-4
            for tasks on real images.

    Raises:
        InvalidConfig: The design is unknown, or `init_std` is negative or not finite.

    Source: arXiv 2606.04433, sections 3 and 4, table 16.
    """

    design: str = "cross_ffn"
    init_std: float = 0.0

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            raise InvalidConfig(f"Unknown SVE design {self.design!r}; choose one of {', '.join(DESIGNS)}.")
        if not (math.isfinite(self.init_std) and self.init_std >= 0):
            raise InvalidConfig(f"init_std is {self.init_std}; give a finite number that is not negative.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings out of JSON values; an unknown key raises `InvalidConfig`."""
        _refuse_unknown(cls, values)
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class PVMConfig:
    """Settings of the persistent visual memory.

    Attributes:
        layers: Decoder layers, counted from 0, that get a retrieval branch.
        latent_dim: Width of the branch; a multiple of the host's text head size.
        init_std: Standard deviation of all branch matrices at the start. The gate starts at 0 in any case.

    Raises:
        InvalidConfig: No layer, a layer named twice or negative, or a width or deviation that is not positive.

    Source: arXiv 2605.00814, code at commit 8d784fe; layers 8, 16, 24 are those of the 8B host.
    """

    layers: tuple[int, ...] = (8, 16, 24)
    latent_dim: int = 512
    init_std: float = 0.02

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers or len(set(layers)) != len(layers) or any(type(i) is not int or i < 0 for i in layers):
            raise InvalidConfig(f"PVM layers are {self.layers}; give different decoder layers, counted from 0.")
        object.__setattr__(self, "layers", tuple(sorted(layers)))
        if type(self.latent_dim) is not int or self.latent_dim < 1:
            raise InvalidConfig(f"latent_dim is {self.latent_dim}; give a positive whole number.")
        # With gate and output_expander both at zero every gradient of the branch is zero for ever.
        if not (math.isfinite(self.init_std) and self.init_std > 0):
            raise InvalidConfig(f"init_std is {self.init_std}; give a finite number above 0.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings out of JSON values; an unknown key raises `InvalidConfig`."""
        _refuse_unknown(cls, values)
        return cls(**{**values, **({"layers": tuple(values["layers"])} if "layers" in values else {})})


def _refuse_unknown(cls: type[SVEConfig] | type[PVMConfig], values: Mapping[str, Any]) -> None:
    known = {field.name for field in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise InvalidConfig(f"{cls.__name__} has no {', '.join(unknown)}; its keys are {', '.join(sorted(known))}.")
