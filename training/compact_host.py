"""How is the embedded host built: a small model of the Qwen3-VL classes with its own tokenizer and processor?

Everything here makes an untrained host; `training.recipe` trains it and `models/compact` holds the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reports.vocabulary import CHANGE_WORDS, FINDINGS, NOTHING_FOUND, PLACES, Domain
from training.prompt import prompt_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

#: Side of the square image that the host sees, in pixels.
IMAGE_SIZE: Final = 128
PATCH_SIZE: Final = 16

#: Width of the decoder, and of the vision tokens that enter it.
WIDTH: Final = 192

_SPECIAL: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

#: One user turn with two images and an answer; a cut of Qwen3-VL's template to what a pair needs.
_CHAT_TEMPLATE: Final = (
    "{%- for message in messages -%}{{- '<|im_start|>' + message.role + '\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part.type == 'text' -%}{{- part.text -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{- '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def _corpus() -> list[str]:
    """Every sentence part that reports and prompts are made of; the tokenizer learns its words from these."""
    lines = [*prompt_texts(), *NOTHING_FOUND.values(), "Probable Possible probable possible", "user assistant system\n"]
    for domain in Domain:
        for place in PLACES[domain]:
            for finding in FINDINGS[domain]:
                for words in CHANGE_WORDS[domain].values():
                    lines.append(f"{place.capitalize()} {finding} {words}. {place.capitalize()} {finding} {words}.")
                    lines.append(f"Possible {place} {finding} {words}. Probable {place} {finding} {words}.")
    return lines


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over the report grammar: any text can be written, a word of the grammar is one token.

    Deterministic: the corpus is the vocabulary itself.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(_SPECIAL[1:]),
        padding_side="left",
        model_max_length=1024,
    )


def build_processor() -> Qwen3VLProcessor:
    """Processor of the host: images of any size to 128 x 128, 64 patches each, and the chat template."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    area = IMAGE_SIZE * IMAGE_SIZE
    options: dict[str, Any] = {
        "size": {"shortest_edge": area, "longest_edge": area},
        "patch_size": PATCH_SIZE,
        "temporal_patch_size": 1,
        "merge_size": 1,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
    }
    return Qwen3VLProcessor(  # type: ignore[no-untyped-call]
        image_processor=Qwen2VLImageProcessor(**options),
        tokenizer=build_tokenizer(),
        video_processor=Qwen3VLVideoProcessor(**options),
        chat_template=_CHAT_TEMPLATE,
    )


def build_host(processor: Qwen3VLProcessor, *, seed: int) -> Qwen3VLForConditionalGeneration:
    """Untrained host that fits the processor: vision 192 wide and 5 deep, text 192 wide and 4 deep, fp32."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = processor.tokenizer
    side = IMAGE_SIZE // PATCH_SIZE
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 32,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [6, 5, 5]},
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
        },
        vision_config={
            "depth": 5,
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_heads": 6,
            "patch_size": PATCH_SIZE,
            "spatial_merge_size": 1,
            "temporal_patch_size": 1,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": side * side,
            "deepstack_visual_indexes": [2],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    host = Qwen3VLForConditionalGeneration(config)
    host.generation_config.eos_token_id = tokenizer.eos_token_id
    host.generation_config.pad_token_id = tokenizer.pad_token_id
    return host
