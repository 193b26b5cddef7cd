from collections.abc import Callable
from typing import Any

import pytest
import torch

from models.attach import attach
from models.config import PVMConfig, SVEConfig
from models.errors import AttachmentError, UnresolvedPrior
from models.evidence import context_sensitivity, update_map
from models.predecessor import use_priors

Make = Callable[..., Any]


@pytest.mark.parametrize(("merge", "shape"), [(1, (4, 6)), (2, (2, 3))])
def test_the_map_is_the_mean_square_difference_to_reading_itself(
    make_host: Make, make_inputs: Make, awaken: Make, merge: int, shape: tuple[int, int]
) -> None:
    host = awaken(attach(make_host(merge=merge), sve=SVEConfig()))
    inputs = make_inputs([[(4, 4), (4, 6)]], merge=merge)
    with torch.no_grad():
        parts = []
        for priors in ([-1, 0], [-1, -1]):
            with use_priors(priors):
                output = host.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"], return_dict=True)
            parts.append(output.pooler_output[1])
    expected = (parts[0] - parts[1]).square().mean(-1).view(shape)

    found = update_map(host, inputs)

    assert found.shape == shape
    assert found.min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_a_prior_that_equals_the_current_changes_nothing(make_host: Make, make_inputs: Make, awaken: Make) -> None:
    host, inputs = awaken(attach(make_host(), sve=SVEConfig())), make_inputs([[(4, 4), (4, 4)]])
    inputs["pixel_values"][16:] = inputs["pixel_values"][:16]

    assert update_map(host, inputs).max() < 1e-10


def test_right_after_attach_no_prior_matters(make_host: Make, make_inputs: Make) -> None:
    host, inputs = attach(make_host(), sve=SVEConfig()), make_inputs([[(4, 4), (4, 4)]])
    other = torch.randn(16, 96), torch.tensor([[1, 4, 4]])

    assert not update_map(host, inputs).any()
    assert context_sensitivity(host, inputs, *other) == pytest.approx(1, abs=1e-6)


def test_another_prior_lowers_the_cosine_and_the_same_does_not(
    make_host: Make, make_inputs: Make, awaken: Make
) -> None:
    host, inputs = awaken(attach(make_host(), sve=SVEConfig())), make_inputs([[(4, 4), (4, 4)]])

    same = context_sensitivity(host, inputs, inputs["pixel_values"][:16], inputs["image_grid_thw"][:1])
    other = context_sensitivity(host, inputs, torch.randn(24, 96), torch.tensor([[1, 4, 6]]))

    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.999


def test_only_one_sample_with_a_prior_has_a_map(make_host: Make, make_inputs: Make) -> None:
    host = attach(make_host(), sve=SVEConfig())
    for samples in ([[(4, 4)]], [[(4, 4), (4, 4)], [(4, 4), (4, 4)]]):
        with pytest.raises(UnresolvedPrior, match="one sample"):
            update_map(host, make_inputs(samples))


def test_without_a_stateful_encoder_there_is_no_map(make_host: Make, make_inputs: Make) -> None:
    inputs = make_inputs([[(4, 4), (4, 4)]])
    for host in (make_host(), attach(make_host(), pvm=PVMConfig(layers=(1,), latent_dim=16))):
        with pytest.raises(AttachmentError, match="stateful encoder"):
            update_map(host, inputs)
