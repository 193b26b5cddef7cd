import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import PVMConfig, SVEConfig
from models.errors import InvalidConfig, ModelsError, UnknownHost
from models.hosts import host_of


def test_an_unknown_design_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidConfig, match=r"'cross_fnn'.*cross_ffn"):
        SVEConfig(design="cross_fnn")


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="gate"):
        PVMConfig.from_dict({"layers": [1], "gate": 0.1})
    with pytest.raises(InvalidConfig, match="std"):
        SVEConfig.from_dict({"std": 0.1})


@pytest.mark.parametrize("layers", [(), (1, 1), (-1,), (1.5,)])
def test_impossible_layers_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(InvalidConfig):
        PVMConfig(layers=layers)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_a_memory_that_could_never_train_is_refused(std: float) -> None:
    with pytest.raises(InvalidConfig):
        PVMConfig(init_std=std)


@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True),
    st.integers(1, 4096),
    st.floats(0, 1, allow_nan=False),
)
def test_settings_survive_their_dictionaries(layers: list[int], latent: int, std: float) -> None:
    pvm, sve = PVMConfig(layers=tuple(layers), latent_dim=latent), SVEConfig(init_std=std)

    assert PVMConfig.from_dict(pvm.to_dict()) == pvm
    assert SVEConfig.from_dict(sve.to_dict()) == sve


def test_an_unknown_host_says_what_to_add() -> None:
    with pytest.raises(UnknownHost, match=r"'idefics'.*add an entry") as caught:
        host_of("idefics")
    assert isinstance(caught.value, ModelsError)


def test_settings_errors_and_hosts_load_without_torch() -> None:
    code = "import sys, models.config, models.errors, models.hosts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
