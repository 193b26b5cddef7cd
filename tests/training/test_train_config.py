"""Settings of a run: what is read, what is refused."""

import pytest

from training.config import ConfigUnusable, GRPOSettings, TrainConfig, config_of, differing, read_config


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "run.toml"
    found.write_text('data = "d"\nsteps = 3\nrates = {sve = 1e-4}\n[pvm]\nlayers = [1, 2]\n[lora]\nrank = 4\n')
    return found


def test_a_file_and_what_stands_in_its_place(path):
    config = read_config(path, ["steps=5", "pvm.layers=[3]", "model=some/name", "grpo.kl=0.1"])

    assert (config.steps, config.pvm, config.model) == (5, {"layers": [3]}, "some/name")
    assert (config.rates, config.lora.rank, config.grpo) == ({"sve": 1e-4}, 4, GRPOSettings(kl=0.1))
    assert config_of(config.to_dict()) == config


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["stepz=1"], "stepz: Unexpected"),
        (["lora.rnk=1"], "lora.rnk: Unexpected"),
        (["steps=many"], "steps: Input should be a valid integer"),
        (["frozen=['head']"], "'head' is no part of a model"),
        (["epochs=1"], "either steps or epochs"),
        (["batch=0"], "batch is 0"),
        (["rate=nan"], "rate is nan"),
        (["zero=1"], "zero"),
        (["micro_tokens=10"], "needs a max_tokens"),
        (["grpo.group=1"], "beside others"),
        (["steps"], "no key=value"),
        (["data.x=1"], "is no table"),
    ],
)
def test_what_cannot_be_is_told(path, overrides, told):
    with pytest.raises(ConfigUnusable, match=told):
        read_config(path, overrides)


def test_a_file_that_is_no_toml_is_told_by_its_name_alone(tmp_path):
    (tmp_path / "a.toml").write_text("= 3")

    with pytest.raises(ConfigUnusable, match=r"^a\.toml is not TOML"):
        read_config(tmp_path / "a.toml")
    with pytest.raises(ConfigUnusable, match=r"^b\.toml cannot be read"):
        read_config(tmp_path / "b.toml")


def test_only_settings_that_decide_the_result_differ(path):
    config = read_config(path)

    assert differing(config.to_dict(), read_config(path, ["save_every=7", "micro_batch=1"])) == []
    assert differing(config.to_dict(), read_config(path, ["seed=7", "grpo.kl=1"])) == ["seed", "grpo"]


def test_epochs_are_counted_in_steps():
    assert TrainConfig(data="d", epochs=2, batch=384).n_steps(130_335) == 679  # arXiv 2606.04433: radiology
