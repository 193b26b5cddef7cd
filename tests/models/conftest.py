"""A tiny Qwen3-VL built in code, and prompts for it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

IMAGE, VIDEO, START, END = 60, 61, 62, 63


def build_host(
    *, merge: int = 1, depth: int = 3, attention: str = "sdpa", dtype: torch.dtype = torch.float32, **text: Any
) -> Any:
    """A random host with `depth` vision blocks and four decoder layers; equal arguments give equal weights."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
        vision_config={
            "depth": depth,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": merge,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.2,
        },
        text_config={
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 256,
            "initializer_range": 0.2,
            "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
            **text,
        },
    )
    config._attn_implementation = attention
    torch.manual_seed(0)
    model: Any = Qwen3VLForConditionalGeneration(config)
    model.to(dtype).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model.generation_config.suppress_tokens = [IMAGE, VIDEO]
    # Biases and norms start at 0 and 1, where a wrong copy of them would not be seen.
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.2)
    return model


def build_inputs(
    samples: Sequence[Sequence[tuple[int, int]]], *, merge: int = 1, seed: int = 0, prefix: int = 2, text: int = 4
) -> dict[str, Tensor]:
    """A batch of prompts, padded on the left: each sample is a list of image grids (rows, columns of patches)."""
    generator = torch.Generator().manual_seed(seed)
    rows: list[list[int]] = []
    grids: list[tuple[int, int, int]] = []
    for grid_list in samples:
        row = torch.randint(1, 50, (prefix,), generator=generator).tolist()
        for height, width in grid_list:
            grids.append((1, height, width))
            row += [START, *[IMAGE] * (height * width // merge**2), END]
            row += torch.randint(1, 50, (2,), generator=generator).tolist()
        rows.append(row + torch.randint(1, 50, (text,), generator=generator).tolist())
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    inputs = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": (ids == IMAGE).int()}
    if grids:
        patches = sum(height * width for _, height, width in grids)
        inputs["pixel_values"] = torch.randn(patches, 3 * 2 * 4 * 4, generator=generator)
        inputs["image_grid_thw"] = torch.tensor(grids)
    return inputs


@pytest.fixture(scope="session")
def make_host() -> Callable[..., Any]:
    """The builder of hosts."""
    return build_host


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., dict[str, Tensor]]:
    """The builder of prompts."""
    return build_inputs


@pytest.fixture(scope="session")
def awaken() -> Callable[[nn.Module], nn.Module]:
    """Gives the attached modules something to do: W_O, W_2 and the gates leave zero."""

    def set_values(model: nn.Module, *, gate: float = 0.5, std: float = 0.2) -> nn.Module:
        from models.attach import own_parameters

        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, parameter in own_parameters(model).items():
                if name.endswith("gate_alpha"):
                    parameter.fill_(gate)
                elif "o_proj" in name or "fc2" in name or (name.startswith("pvm") and parameter.ndim == 2):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        return model

    return set_values
