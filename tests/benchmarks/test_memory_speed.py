"""What does the visual memory cost while decoding and at prefill, and what does keeping keys and values save?

A random host of 0.6 billion parameters in bf16, of the Qwen3-VL classes with a decoder of Qwen3-0.6B's shape; the
memory's width has the proportion to it that 512 has to the 8B decoder, so its share of the parameters is the 8B's too,
0.3 %. The alternatives take turns step by step, so that a busy machine slows all alike; printed are medians of the
ratios within each turn, and ratios of the least times. On one thread it is processor time that counts, which leaves out
what other work on the machine takes.
"""

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.attach import attach, own_modules, own_parameters
from models.config import PVMConfig
from models.memory_cache import MemoryState, remember
from models.memory_pass import MemoryPass

pytestmark = pytest.mark.benchmark

WIDTH, DEPTH = 1024, 28
IMAGE, START, END, VIDEO = 5, 6, 7, 8
LATENT = WIDTH // 8
VISUAL_TOKENS = (256, 1024, 4096)
#: Tokens of text before the first step; steps and prefills that are measured, after two that warm up.
TEXT, STEPS, PREFILLS = 64, 48, 6


def build_host() -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        text_config={
            "hidden_size": WIDTH,
            "intermediate_size": 3072,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 2,
            "spatial_merge_size": 1,
            "temporal_patch_size": 1,
            "out_hidden_size": WIDTH,
            "deepstack_visual_indexes": [],
        },
        image_token_id=IMAGE,
        vision_start_token_id=START,
        vision_end_token_id=END,
        video_token_id=VIDEO,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    return Qwen3VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16).eval()


@pytest.fixture(scope="module")
def hosts() -> tuple[Any, Any]:
    """Without and with the memory, around the same weights."""
    plain = build_host()
    twin = copy.deepcopy(plain, {id(parameter): parameter for parameter in plain.parameters()})
    attach(twin, pvm=PVMConfig(latent_dim=LATENT))
    for name, parameter in own_parameters(twin).items():
        if name.endswith("gate_alpha"):
            torch.nn.init.constant_(parameter, 0.1)
    return plain, twin


def in_turns(works: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Times of each work in seconds; every turn has all of them, in another order each time."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(turns + 2):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = clock()
            works[name]()
            if turn >= 2:
                times[name].append(clock() - started)
    return times


def ratio(times: dict[str, list[float]], name: str, peer: str) -> str:
    pairs = [one / other for one, other in zip(times[name], times[peer], strict=True)]
    return f"{statistics.median(pairs):.4f} (least over least {min(times[name]) / min(times[peer]):.4f})"


def filled_cache(host: Any, visual: int) -> Any:
    """A cache as a prefill of that many visual tokens and some text leaves it; equal in cost, not in content."""
    from transformers import DynamicCache

    cache = DynamicCache(config=host.config.text_config)
    generator = torch.Generator().manual_seed(0)
    shape = (1, 8, visual + TEXT, 128)
    for layer in range(DEPTH):
        cache.update(*(torch.randn(shape, generator=generator).bfloat16() for _ in range(2)), layer)
    return cache


@pytest.mark.parametrize("visual", VISUAL_TOKENS)
@torch.inference_mode()
def test_decoding_with_the_memory_over_without(
    hosts: tuple[Any, Any], visual: int, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    plain, twin = hosts
    tokens = torch.randn(1, visual, WIDTH, generator=torch.Generator().manual_seed(1)).bfloat16()
    branches = {int(name.removeprefix("pvm.")): module for name, module in own_modules(twin).items()}
    caches = {name: filled_cache(plain, visual) for name in ("without", "with", "recomputed")}
    position = torch.arange(visual)[None]
    for name in ("with", "recomputed"):
        states = {layer: MemoryState(*branch.encode(tokens), position, False) for layer, branch in branches.items()}
        remember(caches[name], states)

    kept = MemoryPass._state

    def again(self: MemoryPass, memory: Any, layer: int) -> MemoryState:
        return MemoryState(*memory.encode(tokens), position, False)

    def step(name: str, host: Any) -> Callable[[], object]:
        def run() -> None:
            monkeypatch.setattr(MemoryPass, "_state", again if name == "recomputed" else kept)
            place = torch.full((4, 1, 1), caches[name].get_seq_length())
            host(torch.tensor([[9]]), past_key_values=caches[name], position_ids=place, use_cache=True)

        return run

    times = in_turns(
        {name: step(name, plain if name == "without" else twin) for name in caches},
        STEPS if visual < 4096 else STEPS // 2,
    )

    with capsys.disabled():
        rate = 1 / statistics.median(times["without"])
        parameters = sum(parameter.numel() for parameter in plain.parameters())
        print(f"\n{visual} visual tokens, {parameters / 1e9:.2f} B parameters, bf16, {torch.get_num_threads()} threads")
        print(f"decoding without {rate:.1f} tokens/s; time of a step with the memory over without: ", end="")
        print(ratio(times, "with", "without"))
        print(f"  the same with keys and values computed again each step: {ratio(times, 'recomputed', 'without')}")


@pytest.mark.parametrize("visual", VISUAL_TOKENS)
@torch.inference_mode()
def test_prefill_with_the_memory_over_without(hosts: tuple[Any, Any], visual: int, capsys: Any) -> None:
    plain, twin = hosts
    side = int(visual**0.5)
    ids = torch.tensor([[START, *[IMAGE] * visual, END, *range(10, 10 + TEXT)]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == IMAGE).int(),
        "pixel_values": torch.randn(visual, 3 * 2 * 2, generator=torch.Generator().manual_seed(2)).bfloat16(),
        "image_grid_thw": torch.tensor([[1, side, side]]),
    }

    times = in_turns(
        {
            "without": lambda: plain(**inputs, use_cache=True, logits_to_keep=1),
            "with": lambda: twin(**inputs, use_cache=True, logits_to_keep=1),
        },
        PREFILLS if visual < 4096 else 3,
    )

    with capsys.disabled():
        print(f"\nprefill of {visual} visual tokens and {TEXT} of text, without {min(times['without']):.2f} s")
        print(f"with the memory over without: {ratio(times, 'with', 'without')}")
