"""What does the stateful encoder cost on top of its tower, and against the straightforward way? Prints ratios."""

import time
from collections.abc import Callable
from types import MethodType

import pytest
import torch
from torch import Tensor

from models.attach import attach, own_modules
from models.config import SVEConfig
from models.cross_image import CrossImage, rotate
from models.cross_plan import CrossPlan, Rotary, Trace, TracedOrder
from models.predecessor import image_order, use_priors

pytestmark = pytest.mark.benchmark

#: The tower of the 4B hosts at 448 px.
WIDTH, HEADS, INNER, SIDE = 1024, 16, 4096, 448 // 16

#: Blocks, and how often each is timed: the whole tower, and a cut of it on which noise is beaten by repetition.
DEPTHS = [(3, 4), (24, 2)]


def build_tower(depth: int = 1) -> torch.nn.Module:
    from transformers import Qwen3_5VisionConfig, Qwen3_5VisionModel

    config = Qwen3_5VisionConfig(
        depth=depth, hidden_size=WIDTH, num_heads=HEADS, intermediate_size=INNER, out_hidden_size=2560
    )
    torch.manual_seed(0)
    return Qwen3_5VisionModel(config).eval()


def inputs(images: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images * SIDE * SIDE, 3 * 2 * 16 * 16, generator=generator), torch.tensor(
        [[1, SIDE, SIDE]] * images
    )


def best_in_turns(*works: Callable[[], object], repeats: int = 4) -> list[float]:
    """Least processor time of each in seconds; they take turns, so that a busy machine slows all alike."""
    best = [float("inf")] * len(works)
    for _ in range(repeats + 1):  # the first round warms up, and is never the shortest
        for index, work in enumerate(works):
            started = time.process_time()
            work()
            best[index] = min(best[index], time.process_time() - started)
    return best


def flops(tokens: int, keys: int) -> tuple[int, int]:
    """Multiply-adds of a host's block and of Cross+FFN, for `tokens` that read `keys` each; specs table 17.

    `keys` counts the projected keys and values over all images, so that what is shared counts once.
    """
    n = SIDE * SIDE
    ffn = 2 * tokens * WIDTH * INNER
    attention = 2 * tokens * n * WIDTH
    return 4 * tokens * WIDTH**2 + attention + ffn, 2 * (tokens + keys) * WIDTH**2 + attention + ffn


def straightforward(self: CrossImage, hidden: Tensor, rotary: Rotary, plan: CrossPlan) -> Tensor:
    """Copies of the priors' tokens one after the other, projected for every image that reads them."""
    parts = torch.split(hidden, plan.lengths)
    sources = [max(prior, image) if prior < 0 else prior for image, prior in enumerate(plan.priors)]
    copies = torch.cat([parts[source] for source in sources])
    places = tuple(torch.cat([torch.split(p, plan.lengths)[s] for s in sources]) for p in rotary)
    query = rotate(self.q_proj(self.norm_q(hidden)).unflatten(-1, (self.heads, -1)), rotary)
    key, value = self.kv_proj(self.norm_kv(copies)).unflatten(-1, (2, self.heads, -1)).unbind(-3)
    key = rotate(key, places)
    mixed = [
        torch.nn.functional.scaled_dot_product_attention(*(part.transpose(0, 1)[None] for part in group))[0]
        for group in zip(*(torch.split(part, plan.lengths) for part in (query, key, value)), strict=True)
    ]
    hidden = hidden + self.o_proj(torch.cat([part.transpose(0, 1).flatten(1) for part in mixed]))
    return hidden + self.fc2(self.activation(self.fc1(self.norm_ffn(hidden))))


@pytest.mark.parametrize(("depth", "repeats"), DEPTHS)
@torch.inference_mode()
def test_tower_time_with_sve_over_without_divided_by_the_ratio_of_their_work(capsys, depth, repeats):
    images, grid = inputs(2)
    plain, stateful = build_tower(depth), attach(build_tower(depth), sve=SVEConfig())

    def run() -> object:
        with use_priors([-1, 0]):
            return stateful(images, grid)

    without, with_sve = best_in_turns(lambda: plain(images, grid), run, repeats=repeats)

    host, added = flops(2 * SIDE * SIDE, SIDE * SIDE)
    ratio, work = with_sve / without, (host + added) / host
    with capsys.disabled():
        print(
            f"\ntower of the 4B hosts, {depth} of 24 blocks, a pair at 448 px, fp32, {torch.get_num_threads()} threads"
        )
        print(f"without {without:.2f} s, with {with_sve:.2f} s: ratio {ratio:.2f}, of the work {work:.2f}")
        print(f"ratio of time over ratio of work {ratio / work:.2f}")
    assert run().pooler_output.shape == plain(images, grid).pooler_output.shape


@pytest.mark.parametrize(("depth", "repeats"), DEPTHS)
@torch.inference_mode()
def test_a_current_against_a_cached_prior_over_the_pair(capsys, depth, repeats):
    images, grid = inputs(2)
    tower = attach(build_tower(depth), sve=SVEConfig())
    half = len(images) // 2
    prior: list[Trace] = []
    with image_order(TracedOrder([None], prior)):
        tower(images[:half], grid[:1])

    def pair() -> object:
        with use_priors([-1, 0]):
            return tower(images, grid)

    def current() -> object:
        with image_order(TracedOrder([prior[0]], [])):
            return tower(images[half:], grid[1:])

    def project() -> None:
        for module, tokens in zip(own_modules(tower).values(), prior[0].inputs, strict=True):
            key, _ = module.kv_proj(module.norm_kv(tokens)).chunk(2, dim=-1)
            rotate(key.unflatten(-1, (HEADS, -1)), prior[0].rotary)

    whole, part, again = best_in_turns(pair, current, project, repeats=repeats)

    keys_and_values = 2 * sum(tokens.nbytes for tokens in prior[0].inputs)
    with capsys.disabled():
        print(f"\na current against a cached prior {part:.2f} s, the pair {whole:.2f} s: ratio {part / whole:.2f}")
        print(f"with keys and values kept in the place of layer inputs {(part - again) / whole:.2f}")
        print(
            f"memory {keys_and_values / 2**20:.0f} MiB against {keys_and_values / 2**21:.0f} MiB, {depth} of 24 blocks"
        )
    torch.testing.assert_close(
        current().pooler_output, pair().pooler_output[-len(current().pooler_output) :], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("images", [2, 4, 8])
@torch.inference_mode()
def test_one_module_against_the_straightforward_implementation(capsys, images):
    module = own_modules(attach(build_tower(), sve=SVEConfig()))["sve.0"]
    tokens = images * SIDE * SIDE
    hidden = torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(0))
    angle = torch.rand(tokens, WIDTH // HEADS, generator=torch.Generator().manual_seed(1))
    rotary = (angle.cos(), angle.sin())
    lengths, chain = [SIDE * SIDE] * images, [*range(-1, images - 1)]
    peer = MethodType(straightforward, module)

    ours, theirs = best_in_turns(
        lambda: module(hidden, rotary, CrossPlan(chain, lengths)),
        lambda: peer(hidden, rotary, CrossPlan(chain, lengths)),
    )

    with capsys.disabled():
        print(f"\nchain of {images} images at 448 px: {ours:.3f} s against {theirs:.3f} s, ratio {ours / theirs:.2f}")
    torch.testing.assert_close(
        module(hidden, rotary, CrossPlan(chain, lengths)),
        peer(hidden, rotary, CrossPlan(chain, lengths)),
        rtol=1e-4,
        atol=1e-4,
    )
