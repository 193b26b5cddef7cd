import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.grid import Grid
from ingest.pixels import Pixels
from training.errors import TrainingError
from training.samples import model_image


def pixels(values: np.ndarray, valid: np.ndarray | None = None) -> Pixels:
    height, width = values.shape[1:]
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=height, width=width, frame="test")
    return Pixels(
        values=values.astype(np.float32), valid=np.ones((height, width), bool) if valid is None else valid, grid=grid
    )


@given(height=st.integers(1, 300), width=st.integers(1, 300), channels=st.sampled_from([1, 3]))
def test_the_model_image_is_square_whatever_the_shape(height, width, channels):
    image = model_image(pixels(np.ones((channels, height, width))), size=64)

    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8


def test_the_middle_stays_the_middle_of_an_oblong_image():
    values = np.zeros((1, 100, 200))
    values[:, 40:60, 90:110] = 1.0

    image = model_image(pixels(values), size=100)

    rows, columns = np.nonzero(image[..., 0] > 200)
    assert rows.mean() == pytest.approx(49.5, abs=0.6)
    assert columns.mean() == pytest.approx(49.5, abs=0.6)


def test_what_is_not_valid_is_grey_and_does_not_bleed():
    values = np.ones((1, 64, 64))
    values[:, :, :32] = -1e6
    valid = np.ones((64, 64), bool)
    valid[:, :32] = False

    image = model_image(pixels(values, valid), size=64)

    assert (image[:, :32] == 128).all()
    assert (image[:, 32:] == 255).all()


def test_two_bands_are_refused():
    with pytest.raises(TrainingError, match="1 or 3 channels"):
        model_image(pixels(np.ones((2, 8, 8))), size=64)
