import base64
import io

import numpy as np
import pytest
from PIL import Image

from reports.errors import UnusableImage
from reports.figures import INFERNO, evidence_overlay, to_jpeg_data_uri, to_png_data_uri


def decoded(uri: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))
    return np.asarray(image.convert("RGB")).astype(int)


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    return np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)


def test_a_small_picture_keeps_its_values() -> None:
    values = np.stack([gradient(), gradient()[::-1], np.zeros((60, 80), np.float32)])

    picture = decoded(to_png_data_uri(values))

    assert picture.shape == (60, 80, 3)
    assert np.abs(picture.transpose(2, 0, 1) / 255 - values).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("shape", [(60, 80), (1, 60, 80)])
def test_a_grey_picture_has_one_plane(shape: tuple[int, ...]) -> None:
    uri = to_png_data_uri(gradient().reshape(shape))

    assert uri.startswith("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).mode == "L"


def test_a_large_picture_is_shrunk_and_keeps_its_proportions() -> None:
    assert decoded(to_png_data_uri(gradient(300, 600), max_side=100)).shape == (50, 100, 3)
    assert decoded(to_png_data_uri(gradient(1, 600), max_side=100)).shape == (1, 100, 3)


def test_a_jpeg_is_smaller_and_looks_the_same() -> None:
    noise = np.random.default_rng(0).normal(0, 0.03, (256, 256))
    values = (np.linspace(0.2, 0.8, 256)[:, None] + noise).clip(0, 1)

    png, jpeg = to_png_data_uri(values), to_jpeg_data_uri(values)

    assert jpeg.startswith("data:image/jpeg;base64,")
    assert len(jpeg) < len(png)
    assert np.abs(decoded(png) - decoded(jpeg)).mean() < 4


def test_invalid_pixels_are_hatched_and_valid_ones_untouched() -> None:
    values = np.full((64, 64), 0.9, np.float32)
    valid = np.ones((64, 64), bool)
    valid[:, 32:] = False

    picture = decoded(to_png_data_uri(values, valid=valid))[..., 0]

    assert (picture[:, :32] == round(0.9 * 255)).all()
    assert picture[:, 32:].max() < 0.9 * 255
    assert len(np.unique(picture[:, 32:])) == 2


def test_the_hatch_shows_on_black_too() -> None:
    picture = decoded(to_png_data_uri(np.zeros((32, 32)), valid=np.zeros((32, 32), bool)))

    assert picture.max() - picture.min() >= 60


def test_evidence_colours_where_it_is_high_and_leaves_the_rest() -> None:
    current = np.full((64, 64), 0.5, np.float32)
    evidence = np.zeros((8, 8))
    evidence[2, 6] = 3.0

    picture = decoded(evidence_overlay(current, evidence))

    assert (picture[40:, :30] == 128).all()
    bright = picture[20, 52]
    assert bright[0] > 180
    assert bright[2] < bright[0]
    row, column = np.unravel_index(np.abs(picture - 128).sum(-1).argmax(), (64, 64))
    assert (row // 8, column // 8) == (2, 6)


def test_a_constant_map_colours_nothing() -> None:
    current = gradient()

    assert evidence_overlay(current, np.full((4, 4), 7.0)) == to_png_data_uri(current)


def test_the_unit_of_the_evidence_does_not_matter() -> None:
    evidence = np.random.default_rng(1).random((6, 6))

    assert evidence_overlay(gradient(), evidence) == evidence_overlay(gradient(), 1000 * evidence + 5)


def test_evidence_over_a_colour_scene_is_shown_on_grey() -> None:
    scene = np.stack([np.ones((16, 16)), np.zeros((16, 16)), np.zeros((16, 16))])

    picture = decoded(evidence_overlay(scene, np.zeros((2, 2)), codec="png"))

    assert (picture == round(0.299 * 255)).all()


def test_the_colour_map_is_that_of_matplotlib() -> None:
    from matplotlib import colormaps

    stops = np.linspace(0, 1, len(INFERNO))

    assert np.abs(np.array(INFERNO) / 255 - colormaps["inferno"](stops)[:, :3]).max() < 1.5 / 255


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 8, 8)),
        np.zeros(8),
        np.zeros((0, 8)),
        np.full((8, 8), 1.2),
        np.full((8, 8), -0.1),
        np.full((8, 8), np.nan),
        np.full((8, 8), 200, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(values: np.ndarray) -> None:
    with pytest.raises(UnusableImage, match="cannot be drawn"):
        to_png_data_uri(values)


def test_a_mask_or_map_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(UnusableImage, match="does not fit"):
        to_png_data_uri(gradient(), valid=np.ones((80, 60), bool))
    with pytest.raises(UnusableImage, match="finite"):
        evidence_overlay(gradient(), np.full((2, 2), np.inf))
    with pytest.raises(UnusableImage, match="finite"):
        evidence_overlay(gradient(), np.zeros((1, 2, 2)))
