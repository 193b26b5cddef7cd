import json
from dataclasses import asdict

import numpy as np
import pytest

from reports.vocabulary import Domain
from training.dense import HEADS_FILE
from training.errors import TrainingError
from training.generated import generated_pair
from training.predict import Predictor
from training.recipe import DESIGNS, SAMPLE_SEED, RecipeConfig, make_compact

SHORT = {"dense_steps": 2, "pair_steps": 2, "dense_batch": 2, "pair_batch": 2, "workers": 0, "threads": 1}


def test_the_sample_archives_seed_is_never_trained_on():
    with pytest.raises(TrainingError, match="sample archive"):
        RecipeConfig(seed=SAMPLE_SEED)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_compact(RecipeConfig(seed=5, **SHORT), folder)
    return folder


def test_the_recipe_leaves_a_model_that_loads_and_reports(made):
    sample = generated_pair(Domain.SATELLITE, np.random.default_rng(1), image_size=128, tokens=8).sample

    predictor = Predictor.load(made)
    generated = predictor.generate([sample])[0]

    assert predictor.name == "compact"
    assert not predictor.trained_on_real_images
    assert "".join(text for text, _ in generated.sentences).replace(" ", "") == generated.text.replace(" ", "")


def test_the_recipe_is_written_beside_the_weights(made):
    expected = json.loads(json.dumps(asdict(RecipeConfig(seed=5, **SHORT))))
    assert json.loads((made / "recipe.json").read_text()) == [
        {**expected, "saved_at_stage": "pairs", "saved_at_step": SHORT["pair_steps"]}
    ]


def test_a_run_goes_on_from_an_earlier_one(made, tmp_path):
    still = {**SHORT, "dense_steps": 0, "pair_steps": 1, "pair_rate": 0.0}
    make_compact(RecipeConfig(seed=6, **still), tmp_path, start=made)

    assert [run["seed"] for run in json.loads((tmp_path / "recipe.json").read_text())] == [5, 6]
    for name in ("model.safetensors", "adapter.safetensors", HEADS_FILE):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_starts_as_the_plain_host_that_it_goes_on_from(host_folder, tmp_path, design):
    still = {**SHORT, "dense_steps": 0, "pair_steps": 1, "pair_rate": 0.0}
    make_compact(RecipeConfig(seed=6, design=design, **still), tmp_path, start=host_folder)

    assert (tmp_path / "adapter.safetensors").is_file() == (design != "plain")
    assert (tmp_path / "model.safetensors").read_bytes() == (host_folder / "model.safetensors").read_bytes()
    sample = generated_pair(Domain.SATELLITE, np.random.default_rng(1), image_size=128, tokens=8).sample
    texts = [Predictor.load(folder).generate([sample])[0].text for folder in (host_folder, tmp_path)]
    assert texts[0] == texts[1]


@pytest.fixture(scope="module")
def host_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    make_compact(RecipeConfig(seed=5, design="plain", **SHORT), folder)
    return folder


def test_the_dense_stage_drops_what_is_attached(made, tmp_path):
    make_compact(RecipeConfig(seed=6, design="plain", **{**SHORT, "pair_steps": 0}), tmp_path, start=made)

    assert not (tmp_path / "adapter.safetensors").exists()
    assert Predictor.load(tmp_path).name == "compact"


def test_a_design_that_is_not_known_is_named():
    with pytest.raises(TrainingError, match="'self_fnn' is none of the designs plain"):
        RecipeConfig(seed=5, design="self_fnn")


def test_a_run_does_not_go_on_with_the_pairs_of_the_earlier_one(made, tmp_path):
    with pytest.raises(TrainingError, match="another one"):
        make_compact(RecipeConfig(seed=5, **SHORT), tmp_path, start=made)


def test_the_same_seed_makes_the_same_weights(made, tmp_path):
    make_compact(RecipeConfig(seed=5, **SHORT), tmp_path)

    for name in ("model.safetensors", "adapter.safetensors"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
