"""Where in a host model are the parts that our modules enter?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.errors import UnknownHost


@dataclass(frozen=True, kw_only=True)
class Tower:
    """Names of a vision tower's parts, as attribute paths.

    Attributes:
        blocks: List of vision blocks, below the tower.
        norms: The two norms of a block: before self-attention, before the FFN.
        attention: Self-attention of a block.
        qkv: Below the attention: its fused projection, rows in the order query, key, value; or its three projections.
        qk_norms: Below the attention: norms of queries and keys as a whole; empty where there are none.
        output: Below the attention: what its result goes through, one after the other.
        with_weights: Whether the attention returns a pair, its weights second.
        ffn: FFN of a block.
        ffn_in: Below the FFN: its first linear; or gate and up, where the activated gate multiplies the other.
        activation: Below the FFN: its activation.
        ffn_out: Below the FFN: its last linear.
        rotary: Keyword argument of a block with cosines and sines of the patches' places, (N, E / K) each; None where
            the tokens themselves hold their places.
        grid: Argument of the tower with the images' grids, where all images are packed into (N, E); None where they
            are the rows of a batch, (T, N, E).
        heads: Attention heads, in the configuration of the tower, as are the following.
        width: Width of a token.
        ffn_width: Inner width of the FFN.
        dropout: Dropout of the attention weights; None where there is none.
    """

    blocks: str
    norms: tuple[str, str]
    attention: str
    qkv: tuple[str, ...]
    qk_norms: tuple[str, ...] = ()
    output: tuple[str, ...]
    with_weights: bool
    ffn: str = "mlp"
    ffn_in: tuple[str, ...]
    activation: str
    ffn_out: str
    rotary: str | None = None
    grid: str | None = None
    heads: str = "num_attention_heads"
    width: str = "hidden_size"
    ffn_width: str = "intermediate_size"
    dropout: str | None = "attention_dropout"


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Names of a text decoder's parts, for hosts that can take the persistent visual memory.

    Attributes:
        path: The decoder, below the core.
        layers: List of decoder layers, below the decoder.
        norm: Norm of a decoder layer before its FFN.
        ffn: FFN of a decoder layer.
        after: Norm of what the FFN gives, before it is added to the residual stream; None where there is none.
        attention: Self-attention of a decoder layer, where it has one.
        last_norm: Norm behind the last layer, below the decoder.
    """

    path: str = "language_model"
    layers: str = "layers"
    norm: str = "post_attention_layernorm"
    ffn: str = "mlp"
    after: str | None = None
    attention: str = "self_attn"
    last_norm: str = "norm"


@dataclass(frozen=True, kw_only=True)
class Host:
    """Names of a host family's parts.

    Attributes:
        path: The vision tower below the multimodal core, which is the module that calls it; empty where the model is a
            vision tower and nothing else.
        tower: The tower's parts.
        decoder: The text decoder's parts, or None where nothing of ours can enter it.
        image_token: Id of the image placeholder, in the configuration of the model; None without prompts.
        merge_size: Side of the square of patches that become one token, in the configuration of a packed tower.
        image_length: Placeholders of one image, in the configuration of the model, where all images have equally many.
    """

    path: str
    tower: Tower
    decoder: Decoder | None = None
    image_token: str | None = "image_token_id"
    merge_size: str | None = None
    image_length: str | None = None


_QWEN = Tower(
    blocks="blocks",
    norms=("norm1", "norm2"),
    attention="attn",
    qkv=("qkv",),
    output=("proj",),
    with_weights=False,
    ffn_in=("linear_fc1",),
    activation="act_fn",
    ffn_out="linear_fc2",
    rotary="position_embeddings",
    grid="grid_thw",
    heads="num_heads",
    dropout=None,
)
_GLM = replace(
    _QWEN,
    ffn_in=("gate_proj", "up_proj"),
    ffn_out="down_proj",
    ffn_width="out_hidden_size",  # the configuration's intermediate_size is the merger's
    dropout="attention_dropout",
)
_SIGLIP = Tower(
    blocks="encoder.layers",
    norms=("layer_norm1", "layer_norm2"),
    attention="self_attn",
    qkv=("q_proj", "k_proj", "v_proj"),
    output=("out_proj",),
    with_weights=True,
    ffn_in=("fc1",),
    activation="activation_fn",
    ffn_out="fc2",
)
_INTERNVL = replace(
    _SIGLIP,
    blocks="encoder.layer",
    norms=("layernorm_before", "layernorm_after"),
    attention="attention",
    qk_norms=("q_norm", "k_norm"),
    output=("projection_layer", "projection_dropout"),
)
_VIT = replace(
    _SIGLIP,
    blocks="layers",
    norms=("layernorm_before", "layernorm_after"),
    attention="attention",
    output=("o_proj",),
    dropout="attention_probs_dropout_prob",
)


def _alone(tower: Tower) -> Host:
    """A vision tower without a language model; the caller names the priors."""
    return Host(path="", tower=tower, image_token=None, merge_size=None if tower.grid is None else "spatial_merge_size")


#: Host families by the `model_type` of their configuration. Source: transformers 5.23, modeling files of each family.
HOSTS: dict[str, Host] = {
    "qwen3_vl": Host(path="visual", tower=_QWEN, merge_size="spatial_merge_size", decoder=Decoder()),
    # The layers with a Gated DeltaNet in the place of attention have their FFN where the others have it.
    "qwen3_5": Host(path="visual", tower=_QWEN, merge_size="spatial_merge_size", decoder=Decoder()),
    "glm46v": Host(
        path="visual", tower=_GLM, merge_size="spatial_merge_size", decoder=Decoder(after="post_mlp_layernorm")
    ),
    "internvl": Host(path="vision_tower", tower=_INTERNVL, image_length="image_seq_length", decoder=Decoder()),
    "gemma3": Host(
        path="vision_tower",
        tower=_SIGLIP,
        image_length="mm_tokens_per_image",
        decoder=Decoder(norm="pre_feedforward_layernorm", after="post_feedforward_layernorm"),
    ),
    # LLaVA with a CLIP or SigLIP tower, whose blocks have the same names.
    "llava": Host(path="vision_tower", tower=_SIGLIP, image_length="image_seq_length", decoder=Decoder()),
    "qwen3_vl_vision": _alone(_QWEN),
    "qwen3_5_vision": _alone(_QWEN),
    "glm4v_vision": _alone(_GLM),
    "internvl_vision": _alone(_INTERNVL),
    "siglip_vision_model": _alone(_SIGLIP),
    "clip_vision_model": _alone(_SIGLIP),
    "vit": _alone(_VIT),
}


def host_of(model_type: str) -> Host:
    """The entry of a host family.

    Raises:
        UnknownHost: The table has no such family.
    """
    if model_type not in HOSTS:
        raise UnknownHost(
            f"No host family {model_type!r} in models/hosts.py, which has {', '.join(sorted(HOSTS))}: add an entry "
            "with the paths of its vision tower, the tower's blocks and their parts, and tests for it."
        )
    return HOSTS[model_type]
