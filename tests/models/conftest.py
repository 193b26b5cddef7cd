"""Tiny random hosts of every family, built in code, and prompts for them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

IMAGE, VIDEO, START, END = 60, 61, 62, 63
#: Side of the images that hosts with one image size take, their patches, and placeholders of one image.
SIDE, PATCH, LENGTH = 16, 4, 4

TEXT: dict[str, Any] = {
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
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
TOKENS = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": START,
    "vision_end_token_id": END,
}
PACKED: dict[str, Any] = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 1,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 64,
    "initializer_range": 0.2,
}
BATCHED: dict[str, Any] = {
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "patch_size": PATCH,
    "image_size": SIDE,
}
#: Families whose images are packed one after the other, of any size each.
PACKED_FAMILIES = ("qwen3_vl", "qwen3_5", "glm46v")


def settle(model: Any, dtype: torch.dtype = torch.float32) -> Any:
    """The model in evaluation, with biases and norms that a wrong copy of them would betray."""
    model.to(dtype).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.2)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.eos_token_id = None
        model.generation_config.pad_token_id = 0
        model.generation_config.suppress_tokens = [IMAGE, VIDEO]
    return model


def config_of(family: str, **vision: Any) -> Any:
    """The tiny configuration of a family."""
    import transformers as hf

    if family == "qwen3_vl":
        return hf.Qwen3VLConfig(
            vision_config={**PACKED, "deepstack_visual_indexes": [0, 1], **vision},
            text_config={**TEXT, "rope_parameters": MROPE},
            **TOKENS,
        )
    if family == "qwen3_5":
        linear = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2}
        rope = {**MROPE, "mrope_section": [2, 1, 1], "partial_rotary_factor": 1.0}
        return hf.Qwen3_5Config(
            vision_config={**PACKED, **vision},
            text_config={**TEXT, **linear, "linear_num_value_heads": 4, "rope_parameters": rope},
            **TOKENS,
        )
    if family == "glm46v":
        text = {key: value for key, value in TEXT.items() if key != "head_dim"}
        return hf.Glm46VConfig(
            vision_config={
                "model_type": "glm4v_vision",
                **{key: value for key, value in PACKED.items() if key != "num_position_embeddings"},
                "out_hidden_size": 32,
                "intermediate_size": 48,
                "image_size": 32,
                **vision,
            },
            text_config={"model_type": "glm4v_text", **text, "rope_parameters": MROPE},
            image_token_id=IMAGE,
            video_token_id=VIDEO,
            image_start_token_id=START,
            image_end_token_id=END,
        )
    if family == "internvl":
        return hf.InternVLConfig(
            vision_config={**BATCHED, "attention_bias": True, "use_qk_norm": True, "initializer_range": 0.2, **vision},
            text_config={"model_type": "qwen3", **TEXT},
            image_token_id=IMAGE,
            image_seq_length=LENGTH,
        )
    if family == "llava":
        # Two patches a side, and a class token that the language model does not get.
        vision_config = {"model_type": "clip_vision_model", **BATCHED, "patch_size": SIDE // 2, **vision}
        return hf.LlavaConfig(
            vision_config=vision_config,
            text_config={"model_type": "llama", **TEXT},
            image_token_id=IMAGE,
            image_seq_length=LENGTH,
            vision_feature_layer=-1,
        )
    assert family == "gemma3"
    return hf.Gemma3Config(
        vision_config={**BATCHED, **vision},
        text_config={**TEXT, "query_pre_attn_scalar": 8, "sliding_window": 16, "sliding_window_pattern": 2},
        mm_tokens_per_image=LENGTH,
        image_token_id=IMAGE,
        boi_token_index=START,
        eoi_token_index=END,
    )


def build_family(family: str, *, attention: str = "sdpa", dtype: torch.dtype = torch.float32, **vision: Any) -> Any:
    """A random host of a family; equal arguments give equal weights."""
    from transformers import AutoModelForImageTextToText

    config = config_of(family, **vision)
    config._attn_implementation = attention
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.std() < 0.1:  # families whose configuration has no initializer_range
                parameter.normal_(std=0.2)
    return settle(model, dtype)


def build_tower(kind: str) -> Any:
    """A random vision tower alone: "siglip_vision_model" or "vit"."""
    import transformers as hf

    configs = {"siglip_vision_model": hf.SiglipVisionConfig, "vit": hf.ViTConfig}
    torch.manual_seed(0)
    return settle(hf.AutoModel.from_config(configs[kind](**BATCHED)))


def build_host(
    *, merge: int = 1, depth: int = 3, attention: str = "sdpa", dtype: torch.dtype = torch.float32, **text: Any
) -> Any:
    """A random Qwen3-VL with `depth` vision blocks and four decoder layers; equal arguments give equal weights."""
    from transformers import Qwen3VLForConditionalGeneration

    config = config_of("qwen3_vl", spatial_merge_size=merge, depth=depth)
    config.text_config.update(text)
    config._attn_implementation = attention
    torch.manual_seed(0)
    return settle(Qwen3VLForConditionalGeneration(config), dtype)


def build_inputs(
    samples: Sequence[Sequence[tuple[int, int]]],
    *,
    family: str = "qwen3_vl",
    merge: int = 1,
    seed: int = 0,
    prefix: int = 2,
    text: int = 4,
) -> dict[str, Tensor]:
    """A batch of prompts, padded on the left: each sample is a list of image grids (rows, columns of patches).

    Hosts that take images of one size get that, whatever the grid.
    """
    packed = family in PACKED_FAMILIES
    generator = torch.Generator().manual_seed(seed)
    rows: list[list[int]] = []
    for grids in samples:
        row = torch.randint(1, 50, (prefix,), generator=generator).tolist()
        for height, width in grids:
            row += [START, *[IMAGE] * (height * width // merge**2 if packed else LENGTH), END]
            row += torch.randint(1, 50, (2,), generator=generator).tolist()
        rows.append(row + torch.randint(1, 50, (text,), generator=generator).tolist())
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    inputs = {"input_ids": ids, "attention_mask": mask}
    if packed or family == "gemma3":
        inputs["token_type_ids" if family == "gemma3" else "mm_token_type_ids"] = (ids == IMAGE).int()
    if images := [grid for grids in samples for grid in grids]:
        if packed:
            patches = sum(height * width for height, width in images)
            inputs["pixel_values"] = torch.randn(patches, 3 * 2 * 4 * 4, generator=generator)
            inputs["image_grid_thw"] = torch.tensor([(1, *grid) for grid in images])
        else:
            inputs["pixel_values"] = torch.randn(len(images), 3, SIDE, SIDE, generator=generator)
    return inputs


@pytest.fixture(scope="session")
def make_family() -> Callable[..., Any]:
    """The builder of hosts of any family."""
    return build_family


@pytest.fixture(scope="session")
def make_tower() -> Callable[..., Any]:
    """The builder of vision towers alone."""
    return build_tower


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Any]:
    """The builder of tiny configurations."""
    return config_of


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
                elif any(part in name for part in ("o_proj", "fc2", ".linear.")) or (
                    name.startswith("pvm") and parameter.ndim == 2
                ):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        return model

    return set_values
