"""Which host is the experiment made with? A small one of the Qwen3-VL classes, without DeepStack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from training.persistence.task import CELL, CELLS, ID, VOCABULARY

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration

WIDTH: Final = 96
HEADS: Final = 3
HEAD: Final = 64


def build_small_host(*, seed: int) -> Qwen3VLForConditionalGeneration:
    """Untrained host in fp32: vision 96 wide and 2 deep, 49 tokens an image; text 96 wide and 4 deep."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(VOCABULARY),
            "hidden_size": WIDTH,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "head_dim": HEAD,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5_000_000.0, "mrope_section": [12, 10, 10]},
            "tie_word_embeddings": True,
            "pad_token_id": ID["<pad>"],
            "eos_token_id": ID["<end>"],
            "bos_token_id": None,
            "initializer_range": WIDTH**-0.5,
        },
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 256,
            "num_heads": HEADS,
            "patch_size": CELL,
            "spatial_merge_size": 1,
            "temporal_patch_size": 1,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": CELLS,
            "deepstack_visual_indexes": [],
            "initializer_range": WIDTH**-0.5,
        },
        image_token_id=ID["<image>"],
        video_token_id=ID["<video>"],
        vision_start_token_id=ID["<vision_start>"],
        vision_end_token_id=ID["<vision_end>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    host = Qwen3VLForConditionalGeneration(config)
    for layer in host.model.language_model.layers:
        # Tokens read at first what resembles them: a host of this size learns to look things up, but not in minutes.
        layer.self_attn.k_proj.load_state_dict(layer.self_attn.q_proj.state_dict())
    host.generation_config.eos_token_id = ID["<end>"]
    host.generation_config.pad_token_id = ID["<pad>"]
    return host
