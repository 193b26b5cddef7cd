"""Parameter counts at the families' real sizes, on the meta device.

The expected numbers are those of specs section 5 (arXiv 2606.04433, table 17: 4 d^2, 4 d^2 + 2 d d_ff, 6 d^2 a layer),
which leave out norms and biases.
"""

from typing import Any

import pytest
import torch

from models.attach import attach, own_parameters
from models.config import SVEConfig

#: Family, sizes of the real tower, and millions of weights in cross, AdaLN-Zero and Cross+FFN.
TOWERS: list[tuple[str, dict[str, Any], tuple[float, float, float]]] = [
    ("Qwen3_5", {"depth": 12, "hidden_size": 768, "num_heads": 12, "intermediate_size": 3072}, (28.3, 42.5, 84.9)),
    ("Qwen3_5", {"depth": 24, "hidden_size": 1024, "num_heads": 16, "intermediate_size": 4096}, (100.7, 151.0, 302.0)),
    ("Qwen3VL", {"depth": 24, "hidden_size": 1024, "num_heads": 16, "intermediate_size": 4096}, (100.7, 151.0, 302.0)),
    ("Qwen3VL", {}, (143.3, 215.0, 411.1)),
    ("Qwen3_5", {}, (143.3, 215.0, 411.1)),
    ("Glm4v", {}, (226.5, 339.7, 679.5)),
    ("InternVL", {"attention_bias": True}, (100.7, 151.0, 302.0)),
    (
        "Siglip",
        {"num_hidden_layers": 27, "hidden_size": 1152, "num_attention_heads": 16, "intermediate_size": 4304},
        (143.3, 215.0, 411.1),
    ),
]


@pytest.mark.parametrize(("family", "sizes", "millions"), TOWERS)
def test_the_papers_formula_comes_out(family: str, sizes: dict[str, Any], millions: tuple[float, float, float]) -> None:
    import transformers as hf

    config = getattr(hf, f"{family}VisionConfig")(**sizes)
    for design, expected in zip(("cross", "adaln_zero", "cross_ffn"), millions, strict=True):
        with torch.device("meta"):
            tower = attach(getattr(hf, f"{family}VisionModel")(config), sve=SVEConfig(design=design))
        own = own_parameters(tower)
        matrices = sum(p.numel() for name, p in own.items() if p.ndim == 2)

        assert round(matrices / 1e6, 1) == expected
        assert sum(p.numel() for p in own.values()) - matrices < 0.005 * matrices
        if design == "cross_ffn":
            with torch.device("meta"):
                control = attach(getattr(hf, f"{family}VisionModel")(config), sve=SVEConfig(design="self_ffn"))
            assert {n: p.shape for n, p in own_parameters(control).items()} == {n: p.shape for n, p in own.items()}
