import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.vocabulary import CHANGE_WORDS, FINDINGS, Domain
from training.compact_host import IMAGE_SIZE, build_host, build_processor


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def test_a_word_of_the_grammar_is_one_token(processor):
    words = [word for domain in Domain for name in FINDINGS[domain] for word in name.split()]
    words += [word for words in CHANGE_WORDS[Domain.RADIOLOGY].values() for word in words.split()]

    assert [word for word in words if len(processor.tokenizer.tokenize(f" {word}")) != 1] == []


@given(text=st.text(max_size=60))
def test_any_text_survives_the_tokenizer(processor, text):
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    assert processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_tokenizer_is_the_same_every_time(processor):
    assert build_processor().tokenizer.get_vocab() == processor.tokenizer.get_vocab()


@pytest.mark.parametrize("shape", [(128, 128), (90, 200), (512, 448)])
def test_an_image_of_any_size_becomes_about_as_many_patches(processor, shape):
    image = np.zeros((*shape, 3), dtype=np.uint8)

    grid = processor(text=["<|image_pad|>"], images=[[image]], return_tensors="pt")["image_grid_thw"]

    assert 40 <= int(grid.prod()) <= 64


def test_the_model_image_passes_the_processor_unresampled(processor):
    image = np.random.default_rng(0).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)

    patches = processor(text=["<|image_pad|>"], images=[[image]], return_tensors="pt")["pixel_values"]

    first = (patches[0].reshape(3, 16, 16).numpy() * 0.25 + 0.5) * 255
    np.testing.assert_allclose(first, image[:16, :16].transpose(2, 0, 1), atol=1e-3)


def test_the_same_seed_builds_the_same_host(processor):
    import torch

    one, two, other = (build_host(processor, seed=seed).state_dict() for seed in (3, 3, 4))

    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
