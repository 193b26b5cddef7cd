"""Where in a host model are the parts that our modules enter?"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import UnknownHost


@dataclass(frozen=True, kw_only=True)
class Host:
    """Names of a host family's parts; every name is an attribute path below the part that is named before it.

    Attributes:
        tower: Vision tower, below the multimodal core (the module that has both `tower` and `decoder`).
        blocks: List of vision blocks, below the tower.
        block_norms: The two norms of a vision block: before self-attention, before the FFN.
        block_qkv: Fused query, key and value projection of a vision block, rows in that order.
        block_ffn: First linear, activation and second linear of a vision block's FFN.
        decoder: Text decoder, below the core.
        layers: List of decoder layers, below the decoder.
        layer_norm: Norm of a decoder layer before its FFN.
        layer_ffn: FFN of a decoder layer.
        visual_mask: Keyword argument of the decoder with the positions of visual tokens, (B, S) bool.
        vision_heads: Attention heads, in the configuration of the vision tower.
        merge_size: Side of the square of patches that become one token, in the configuration of the vision tower.
        image_token: Id of the image placeholder, in the configuration of the model.
    """

    tower: str
    blocks: str
    block_norms: tuple[str, str]
    block_qkv: str
    block_ffn: tuple[str, str, str]
    decoder: str
    layers: str
    layer_norm: str
    layer_ffn: str
    visual_mask: str
    vision_heads: str
    merge_size: str
    image_token: str


#: Host families by the `model_type` of their configuration. Source: transformers 5.23, modeling_qwen3_vl.py.
HOSTS: dict[str, Host] = {
    "qwen3_vl": Host(
        tower="visual",
        blocks="blocks",
        block_norms=("norm1", "norm2"),
        block_qkv="attn.qkv",
        block_ffn=("mlp.linear_fc1", "mlp.act_fn", "mlp.linear_fc2"),
        decoder="language_model",
        layers="layers",
        layer_norm="post_attention_layernorm",
        layer_ffn="mlp",
        visual_mask="visual_pos_masks",
        vision_heads="num_heads",
        merge_size="spatial_merge_size",
        image_token="image_token_id",
    ),
}


def host_of(model_type: str) -> Host:
    """The entry of a host family.

    Raises:
        UnknownHost: The table has no such family.
    """
    if model_type not in HOSTS:
        raise UnknownHost(
            f"No host family {model_type!r} in models/hosts.py, which has {', '.join(sorted(HOSTS))}: add an entry "
            "with the paths of its vision blocks and decoder layers, and tests for it."
        )
    return HOSTS[model_type]
