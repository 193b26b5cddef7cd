"""A tiny model folder and a small data set, for tests of training runs; also what the processes of such a test run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.training.published_sets import UNCHANGED, write_levir
from training.config import TrainConfig, config_of
from training.predict import CARD_FILE, ModelCard

ROOT = Path(__file__).resolve().parents[2]
SIDE = 32
SENTENCES = ("a road is built", "trees are removed", "a house appears on the bareland", "some houses are built")


def write_tiny_model(folder: Path, *, sve: bool = True, pvm: bool = True, seed: int = 0) -> Path:
    """A Qwen3-VL of 60,000 weights for pictures of 32 x 32 pixels, 4 tokens each, with or without our modules."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from models.attach import attach, detach
    from models.checkpoint import save_adapter
    from models.config import PVMConfig, SVEConfig
    from training.compact_host import build_processor

    processor = build_processor()
    area = {"shortest_edge": SIDE * SIDE, "longest_edge": SIDE * SIDE}
    processor.image_processor.size = area
    tokenizer = processor.tokenizer
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]},
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": None,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 1,
            "temporal_patch_size": 1,
            "out_hidden_size": 32,
            "num_position_embeddings": 4,
            "deepstack_visual_indexes": [0],
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
    folder.mkdir(parents=True, exist_ok=True)
    if sve or pvm:
        attach(
            host,
            # both have something to do from the first step on
            sve=SVEConfig(init_std=0.02) if sve else None,
            pvm=PVMConfig(layers=(1,), latent_dim=16) if pvm else None,
        )
        save_adapter(host, folder)
        detach(host)
    host.save_pretrained(folder)
    processor.save_pretrained(folder)
    card = ModelCard(name="tiny", trained_on_real_images=False, supported_views=("PA",), image_size=SIDE, chip_size=64)
    (folder / CARD_FILE).write_text(card.to_json())
    return folder


def write_tiny_set(folder: Path, *, train: int = 4) -> Path:
    """LEVIR-CC with so many training pairs of five sentences each, and two test pairs of another area."""
    pairs = [
        (f"train_{number:06d}", UNCHANGED if number % 2 else [SENTENCES[number % 4]] * 2 + list(UNCHANGED[:3]))
        for number in range(train)
    ]
    return write_levir(folder, [*pairs, ("test_000300", UNCHANGED), ("test_000301", UNCHANGED)])


def tiny_config(model: Path, data: Path, **settings: object) -> TrainConfig:
    """Settings of a short run in float32; Adam's epsilon keeps rounding from moving what has almost no gradient."""
    defaults = {
        "data": str(data),
        "model": str(model),
        "steps": 10,
        "batch": 4,
        "micro_batch": 4,
        "rate": 1e-3,
        "epsilon": 1e-4,
        "precision": "fp32",
        "save_every": 100,
        "workers": 1,
    }
    return config_of({**defaults, **settings})


def losses(run: Path) -> list[float]:
    """The loss of each step."""
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def write_settings(path: Path, config: TrainConfig) -> Path:
    """The settings as TOML; JSON values are TOML values but for null, which is left out."""

    def lines(values: dict[str, object], table: str) -> list[str]:
        plain = {key: value for key, value in values.items() if not isinstance(value, dict) and value is not None}
        found = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
        for key, value in values.items():
            if isinstance(value, dict):
                found += [f"[{table}{key}]", *lines(value, f"{table}{key}.")]
        return found

    path.write_text("\n".join(lines(config.to_dict(), "")) + "\n")
    return path


def environment() -> dict[str, str]:
    """That of the processes of a run on CPUs."""
    return {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def torchrun(processes: int) -> list[str]:
    """The launcher of so many processes on this machine."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]


def launch(processes: int, arguments: list[str]) -> subprocess.Popen[str]:
    """The command line in so many processes of torchrun."""
    return subprocess.Popen(
        [
            *torchrun(processes),
            "--no-python",
            sys.executable,
            "-c",
            "from services.cli import main; main()",
            *arguments,
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
