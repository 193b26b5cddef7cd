"""Which host is the experiment made with? A small one of the InternVL classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from training.statefulness.task import ID, IMAGE_SIZE, IMAGE_TOKENS, MERGE_SIZE, PATCH_SIZE, VOCABULARY

if TYPE_CHECKING:
    from transformers import InternVLForConditionalGeneration

WIDTH: Final = 96
HEAD: Final = 32


def build_small_host(*, seed: int, decoder_layers: int) -> InternVLForConditionalGeneration:
    """Untrained host in fp32: vision 96 wide and 4 deep, 16 patches and 4 tokens an image; text 96 wide."""
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    heads = WIDTH // HEAD
    config = InternVLConfig(
        text_config={
            "model_type": "qwen3",
            "vocab_size": len(VOCABULARY),
            "hidden_size": WIDTH,
            "intermediate_size": 256,
            "num_hidden_layers": decoder_layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": HEAD,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "pad_token_id": ID["<pad>"],
            "eos_token_id": ID["<end>"],
            "bos_token_id": None,
            "initializer_range": WIDTH**-0.5,
        },
        vision_config={
            "num_hidden_layers": 4,
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_attention_heads": heads,
            "patch_size": PATCH_SIZE,
            "image_size": IMAGE_SIZE,
            "attention_bias": True,
            "layer_scale_init_value": 1.0,
            "initializer_range": WIDTH**-0.5,
        },
        image_token_id=ID["<image>"],
        image_seq_length=IMAGE_TOKENS,
        downsample_ratio=1 / MERGE_SIZE,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    host = InternVLForConditionalGeneration(config)
    # The family starts them at zero, from where places are learned late.
    torch.nn.init.normal_(host.model.vision_tower.embeddings.position_embeddings, std=0.3)
    host.generation_config.eos_token_id = ID["<end>"]
    host.generation_config.pad_token_id = ID["<pad>"]
    return host
