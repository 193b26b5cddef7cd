import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.attach import attach
from models.config import PVMConfig, SVEConfig
from models.errors import ModelsError, UnresolvedPrior
from models.memory_cache import NEVER, recall

Make = Callable[..., Any]
LAYERS = (1, 2, 3)
BATCH = [[(4, 4), (4, 4)], [(2, 4)], []]


@pytest.fixture(scope="module")
def host(make_host: Make, awaken: Make) -> Any:
    return awaken(attach(make_host(), sve=SVEConfig(), pvm=PVMConfig(layers=LAYERS, latent_dim=16)))


def continued(inputs: dict[str, Tensor], text: Tensor) -> dict[str, Tensor]:
    """The inputs of a full forward over a prompt with its answer."""
    extra = text.shape[1] - inputs["input_ids"].shape[1]
    pad = torch.nn.functional.pad
    return {
        **inputs,
        "input_ids": text,
        "attention_mask": pad(inputs["attention_mask"], (0, extra), value=1),
        "mm_token_type_ids": pad(inputs["mm_token_type_ids"], (0, extra)),
    }


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_cached_decoding_equals_the_full_forward(
    make_host: Make, make_inputs: Make, awaken: Make, attention: str
) -> None:
    host = attach(make_host(attention=attention), sve=SVEConfig(), pvm=PVMConfig(layers=LAYERS, latent_dim=16))
    awaken(host)
    inputs = make_inputs(BATCH)

    made = host.generate(**inputs, max_new_tokens=8, do_sample=False, output_logits=True, return_dict_in_generate=True)
    with torch.no_grad():
        full = host(**continued(inputs, made.sequences)).logits[:, -9:-1]

    torch.testing.assert_close(torch.stack(made.logits, 1), full, rtol=1e-5, atol=1e-5)


def test_generating_without_a_cache_gives_the_same_text(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs(BATCH)

    cached = host.generate(**inputs, max_new_tokens=6, do_sample=False)

    assert torch.equal(host.generate(**inputs, max_new_tokens=6, do_sample=False, use_cache=False), cached)


def test_prefill_in_chunks_gives_the_same_text(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4), (4, 4)]])

    whole = host.generate(**inputs, max_new_tokens=6, do_sample=False)

    assert torch.equal(host.generate(**inputs, max_new_tokens=6, do_sample=False, prefill_chunk_size=7), whole)


def test_beams_and_several_answers_equal_those_of_repeated_prompts(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs(BATCH)

    beams = host.generate(**inputs, max_new_tokens=6, num_beams=3, num_return_sequences=2, do_sample=False)
    torch.manual_seed(0)
    sampled = host.generate(**inputs, max_new_tokens=6, do_sample=True, num_return_sequences=2)

    assert len(beams) == len(sampled) == 6
    # A beam's score must be what the full forward says of its text, whatever the cache went through.
    made = host.generate(
        **inputs, max_new_tokens=6, num_beams=3, do_sample=False, output_scores=True, return_dict_in_generate=True
    )
    with torch.no_grad():
        logits = host(**continued(inputs, made.sequences)).logits[:, -7:-1].log_softmax(-1)
    chosen = logits.gather(-1, made.sequences[:, -6:, None]).sum((1, 2)) / 6
    torch.testing.assert_close(made.sequences_scores, chosen, rtol=1e-4, atol=1e-4)


def test_text_only_prompts_generate_as_the_host_does(host: Any, make_host: Make, make_inputs: Make) -> None:
    inputs = make_inputs([[], []])

    assert torch.equal(
        host.generate(**inputs, max_new_tokens=5, do_sample=False),
        make_host().generate(**inputs, max_new_tokens=5, do_sample=False),
    )


def steps(host: Any, inputs: dict[str, Tensor], count: int) -> Any:
    """Greedy decoding by hand, one step at a time; yields each step's logits."""
    forward = torch.no_grad()(host.__call__)  # for one call each: generators in turns would leave it in disorder
    length = inputs["input_ids"].shape[1]
    output = forward(**inputs, use_cache=True)
    yield output.logits[:, -1]
    for step in range(count):
        place = torch.full((4, 1, 1), length + step)
        token = output.logits[:, -1:].argmax(-1)
        output = forward(token, past_key_values=output.past_key_values, position_ids=place, use_cache=True)
        yield output.logits[:, -1]


def test_two_generations_in_turns_do_not_mix(host: Any, make_inputs: Make) -> None:
    first, second = make_inputs([[(4, 4), (4, 4)]], seed=1), make_inputs([[(4, 4), (4, 4)]], seed=2)
    alone = [list(steps(host, inputs, 4)) for inputs in (first, second)]

    turns = list(zip(steps(host, first, 4), steps(host, second, 4), strict=True))

    assert not torch.equal(alone[0][0], alone[1][0])
    for step, (a, b) in enumerate(turns):
        assert torch.equal(a, alone[0][step])
        assert torch.equal(b, alone[1][step])


def test_two_threads_do_not_mix(host: Any, make_inputs: Make) -> None:
    batches = [make_inputs([[(4, 4), (4, 4)]], seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        alone = [host(**inputs).logits for inputs in batches]
    failures: list[int] = []

    def work(index: int) -> None:
        with torch.no_grad():
            for _ in range(15):
                if not torch.equal(host(**batches[index]).logits, alone[index]):
                    failures.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_nothing_of_a_generation_stays_on_the_model(host: Any, make_inputs: Make) -> None:
    def held() -> set[int]:
        return {id(value) for module in host.modules() for value in vars(module).values() if isinstance(value, Tensor)}

    before = held()
    list(steps(host, make_inputs([[(4, 4), (4, 4)]]), 2))

    # The host itself keeps its rope offsets; ours would be keys, values or masks.
    extra = held() - before
    assert all(value is host.model.rope_deltas for value in vars(host.model).values() if id(value) in extra)


def prefilled(host: Any, inputs: dict[str, Tensor]) -> Any:
    with torch.no_grad():
        return host(**inputs, use_cache=True).past_key_values


def step_logits(host: Any, cache: Any, length: int, rows: int) -> Tensor:
    place = torch.full((4, rows, 1), length)
    with torch.no_grad():
        result: Tensor = host(torch.full((rows, 1), 9), past_key_values=cache, position_ids=place).logits
    return result


def test_the_memory_follows_the_caches_samples(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs(BATCH)
    length = inputs["input_ids"].shape[1]
    plain = step_logits(host, prefilled(host, inputs), length, 3)

    order = torch.tensor([2, 0, 1])
    for change, rows in (
        (lambda cache: cache.reorder_cache(order), order),
        (lambda cache: cache.batch_select_indices(order[:2]), order[:2]),
        (lambda cache: cache.batch_repeat_interleave(2), torch.tensor([0, 0, 1, 1, 2, 2])),
    ):
        cache = prefilled(host, inputs)
        change(cache)  # type: ignore[no-untyped-call]
        # A step without padding mask sees padding: only the memory is compared, and rows are equally treated.
        torch.testing.assert_close(step_logits(host, cache, length, len(rows)), plain[rows], rtol=1e-4, atol=1e-5)


def test_a_copied_cache_is_independent(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4)]])
    length = inputs["input_ids"].shape[1]
    cache = prefilled(host, inputs)
    twin = copy.deepcopy(cache)
    first = step_logits(host, cache, length, 1)

    assert cache.layers[1].visual_memory is not twin.layers[1].visual_memory
    assert torch.equal(step_logits(host, twin, length, 1), first)


def test_a_cropped_cache_forgets_the_images_that_it_lost(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4), (2, 4)]])
    ids = inputs["input_ids"][0].tolist()
    keep = 2 + 18 + 1  # the prefix, the first image with its brackets, and one word
    cache = prefilled(host, inputs)

    cache.crop(keep - len(ids))

    position = recall(cache, LAYERS)[1].position[0]
    assert (position[:16] < keep).all()
    assert (position[16:] == NEVER).all()
    short = {name: inputs[name][:, :keep] for name in ("input_ids", "attention_mask", "mm_token_type_ids")}
    short |= {"pixel_values": inputs["pixel_values"][:16], "image_grid_thw": inputs["image_grid_thw"][:1]}
    torch.testing.assert_close(
        step_logits(host, cache, keep, 1), step_logits(host, prefilled(host, short), keep, 1), rtol=1e-4, atol=1e-5
    )
    cache.reset()
    assert cache.layers[1].visual_memory is None


def test_an_image_of_a_later_turn_is_added_to_the_memory(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host = awaken(attach(make_host(), pvm=PVMConfig(layers=LAYERS, latent_dim=16)))
    inputs = make_inputs([[(4, 4), (2, 4)]])
    cut = 2 + 18 + 2
    with torch.no_grad():
        full = host(**inputs).logits
        places = host.model.get_rope_index(inputs["input_ids"], inputs["mm_token_type_ids"], inputs["image_grid_thw"])[
            0
        ]
        parts = [
            {name: inputs[name][:, part] for name in ("input_ids", "mm_token_type_ids")}
            | {"position_ids": places[..., part]}
            for part in (slice(0, cut), slice(cut, None))
        ]
        pixels, grid = inputs["pixel_values"], inputs["image_grid_thw"]
        first = host(**parts[0], pixel_values=pixels[:16], image_grid_thw=grid[:1], use_cache=True)
        second = host(
            **parts[1],
            pixel_values=pixels[16:],
            image_grid_thw=grid[1:],
            past_key_values=first.past_key_values,
            prior_index=[-1],
        )

    torch.testing.assert_close(torch.cat((first.logits, second.logits), 1), full, rtol=1e-4, atol=1e-5)
    assert second.past_key_values.layers[1].visual_memory.key.shape[2] == 24


def test_a_new_image_behind_a_cached_conversation_needs_its_prior(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4)]])
    cache = prefilled(host, inputs)

    with pytest.raises(UnresolvedPrior, match="whole conversation"):
        host(**inputs, past_key_values=cache)


def test_a_cache_of_another_configuration_is_refused(host: Any, make_host: Make, make_inputs: Make) -> None:
    other = attach(make_host(), pvm=PVMConfig(layers=(1,), latent_dim=16))
    cache = prefilled(other, make_inputs([[(4, 4)]]))

    with pytest.raises(ModelsError, match="start the generation again"):
        step_logits(host, cache, 24, 1)


def test_generate_takes_an_explicit_prior_index(host: Any, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4), (4, 4)]])
    options = {"max_new_tokens": 1, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}

    resolved = host.generate(**inputs, **options).logits[0]

    assert torch.equal(host.generate(**inputs, **options, prior_index=[-1, 0]).logits[0], resolved)
    assert not torch.allclose(host.generate(**inputs, **options, prior_index=[-1, -1]).logits[0], resolved, atol=1e-4)
