"""Which modules enter a host, and with which settings?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from models.errors import InvalidConfig

#: Designs of the stateful encoder, each with what it is. Source: arXiv 2606.04433, appendix E, table 17.
DESIGNS: Final = {
    "cross_ffn": "cross-attention to the prior and an FFN, before the block; the paper's choice",
    "cross": "the cross-attention alone",
    "self_ffn": "the modules of cross_ffn, but every image reads itself: the control for their capacity",
    "self_ext": "the block's own attention reads the prior's tokens beside the image's; adds no parameters",
    "adaln_zero": "the prior's mean token shifts, scales and gates the block",
}

#: Settings that a design does not have, and which therefore keep their defaults.
_WITHOUT: Final = {
    "cross_ffn": (),
    "cross": (),
    "self_ffn": ("first_image", "stop_gradient"),
    "self_ext": ("init_std", "clone", "first_image", "positions"),
    "adaln_zero": ("clone", "first_image", "positions"),
}


@dataclass(frozen=True, kw_only=True)
class SVEConfig:
    """Settings of the stateful visual encoder; the defaults are the paper's, each other value is one of its ablations.

    Attributes:
        design: How the prior's features enter a vision block; one of `DESIGNS`.
        init_std: Standard deviation at the start of the weights that end a branch (W_O and W_2, or all of AdaLN's). 0
            makes `attach` an exact no-op; the paper takes 1e-4 for tasks on real images. Ablation "without zero-init":
            0.02, the usual scale of a Transformer.
        clone: Whether W_Q, W_K, W_V and W_1 start as copies of the block's own; else as N(0, 0.02), their biases at 0.
        first_image: What an image without a prior reads: "itself", or "null", one learned token for each block.
        stop_gradient: Whether no gradient flows from an image into the encoding of its prior.
        positions: Whether queries and keys get the tower's rotary positions, each image its own. Towers without rotary
            positions have theirs in the tokens, whatever is said here.

    Raises:
        InvalidConfig: The design is unknown, a setting is out of range, or it is one that the design does not have.

    Source: arXiv 2606.04433, sections 3 and 4, tables 3, 4 and 16.
    """

    design: str = "cross_ffn"
    init_std: float = 0.0
    clone: bool = True
    first_image: str = "itself"
    stop_gradient: bool = True
    positions: bool = True

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            raise InvalidConfig(f"Unknown SVE design {self.design!r}; choose one of {', '.join(DESIGNS)}.")
        if not (math.isfinite(self.init_std) and self.init_std >= 0):
            raise InvalidConfig(f"init_std is {self.init_std}; give a finite number that is not negative.")
        if self.first_image not in ("itself", "null"):
            raise InvalidConfig(f"first_image is {self.first_image!r}; choose 'itself' or 'null'.")
        for name in ("clone", "stop_gradient", "positions"):
            if type(getattr(self, name)) is not bool:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}; give true or false.")
        defaults = {field.name: field.default for field in fields(self)}
        for name in _WITHOUT[self.design]:
            if getattr(self, name) != defaults[name]:
                raise InvalidConfig(f"The SVE design {self.design} has no {name}; leave it out.")

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
    """Settings of the persistent visual memory; the defaults are those of the authors' code.

    The paper writes another branch than the code has: `normed_query=True, shared_kv=True, output_norm=False`.

    Attributes:
        layers: Decoder layers, counted from 0, that get a branch; None for those of `models.placement.strided`.
        latent_dim: Width of the branch; a multiple of the host's text head size.
        init_std: Standard deviation of all branch matrices at the start. The gate starts at 0 in any case.
        branch: "memory", or "mlp" for the control of its capacity: as many parameters, and no look at the images.
        normed_query: Whether the branch reads what the FFN's norm gives, and has no norm of its own on it, in the place
            of the residual stream.
        shared_kv: Whether keys and values both are the reduced visual tokens, without projections and key norm.
        output_norm: Whether a norm without weights stands before the gate, which makes all injections equally large.
        gate: "scalar", one number a layer; or "token", to which a linear map of each token's state is added.

    Raises:
        InvalidConfig: No layer, a layer named twice or negative, a width or deviation that is not positive, an unknown
            branch or gate, or a setting that the branch does not have.

    Source: arXiv 2605.00814, code at commit 8d784fe; for the form of the equations its algorithm 1.
    """

    layers: tuple[int, ...] | None = None
    latent_dim: int = 512
    init_std: float = 0.02
    branch: str = "memory"
    normed_query: bool = False
    shared_kv: bool = False
    output_norm: bool = True
    gate: str = "scalar"

    def __post_init__(self) -> None:
        if self.layers is not None:
            layers = tuple(self.layers)
            if not layers or len(set(layers)) != len(layers) or any(type(i) is not int or i < 0 for i in layers):
                raise InvalidConfig(f"PVM layers are {self.layers}; give different decoder layers, counted from 0.")
            object.__setattr__(self, "layers", tuple(sorted(layers)))
        if type(self.latent_dim) is not int or self.latent_dim < 1:
            raise InvalidConfig(f"latent_dim is {self.latent_dim}; give a positive whole number.")
        if self.branch not in ("memory", "mlp"):
            raise InvalidConfig(f"branch is {self.branch!r}; choose 'memory' or 'mlp'.")
        if self.gate not in ("scalar", "token"):
            raise InvalidConfig(f"gate is {self.gate!r}; choose 'scalar' or 'token'.")
        for name in ("normed_query", "shared_kv", "output_norm"):
            if type(getattr(self, name)) is not bool:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}; give true or false.")
        if self.branch == "mlp" and (self.normed_query or self.shared_kv):
            raise InvalidConfig("The PVM branch mlp has no normed_query and no shared_kv; leave them out.")
        # With gate and output_expander both at zero every gradient of the branch is zero for ever.
        if not (math.isfinite(self.init_std) and self.init_std > 0):
            raise InvalidConfig(f"init_std is {self.init_std}; give a finite number above 0.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**asdict(self), "layers": None if self.layers is None else list(self.layers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The settings out of JSON values; an unknown key raises `InvalidConfig`."""
        _refuse_unknown(cls, values)
        layers = values.get("layers")
        return cls(**{**values, "layers": None if layers is None else tuple(layers)})


def _refuse_unknown(cls: type[SVEConfig] | type[PVMConfig], values: Mapping[str, Any]) -> None:
    known = {field.name for field in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise InvalidConfig(f"{cls.__name__} has no {', '.join(unknown)}; its keys are {', '.join(sorted(known))}.")
