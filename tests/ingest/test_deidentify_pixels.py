"""Text in pixels: found where it is, gone afterwards, and nothing else touched."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import RLELossless

from ingest.deidentify.find_text import find_text, merge
from ingest.deidentify.image import Cleaned, deidentify_image
from ingest.deidentify.options import Options, PixelStep
from ingest.deidentify.secret import Secret
from ingest.dicom.decode import stored_values
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

SECRET = Secret(b"a key for tests, of forty characters....")


def masked(content: bytes, step: PixelStep = PixelStep.RISKY) -> tuple[Cleaned, pydicom.Dataset]:
    done = deidentify_image(content, secret=SECRET, options=Options(pixels=step))
    return done, pydicom.dcmread(io.BytesIO(done.content))


def inside(boxes: list[tuple[int, int, int, int]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    made = np.zeros(shape, dtype=bool)
    for left, top, right, bottom in boxes:
        made[top:bottom, left:right] = True
    return made


def radiograph(shared_data: Path, name: str) -> NDArray[np.uint8]:
    with Image.open(next((shared_data / "cxr" / "images").glob(name))) as image:
        return np.asarray(image.convert("L"))


#: Where people read text in real pictures: left, top, right, bottom, measured by eye.
REAL = [
    ("examples_palette.dcm", (30, 38, 176, 50), "number of the patient"),
    ("examples_palette.dcm", (668, 8, 750, 22), "date"),
    ("gdcm-US-ALOKA-16.dcm", (552, 2, 634, 14), "date"),
    ("gdcm-US-ALOKA-16.dcm", (82, 2, 250, 14), "hospital"),
    ("JPGLosslessP14SV1_1s_1f_8b.dcm", (16, 24, 140, 44), "kind of examination"),
]


@pytest.mark.parametrize(("name", "area", "what"), REAL)
def test_text_of_real_ultrasound_images_is_gone(
    shared_data: Path, name: str, area: tuple[int, int, int, int], what: str
) -> None:
    content = (shared_data / "dicom" / name).read_bytes()
    left, top, right, bottom = area
    before, _ = stored_values(pydicom.dcmread(io.BytesIO(content)))

    done, dataset = masked(content)
    after, _ = stored_values(dataset)

    assert len(np.unique(before[top:bottom, left:right])) > 1
    assert len(np.unique(after[top:bottom, left:right])) == 1, what
    assert done.masks is not None and done.masks.outside_regions
    assert dataset.BurnedInAnnotation == "NO"


def test_the_measured_region_of_an_ultrasound_image_is_mostly_kept(shared_data: Path) -> None:
    content = (shared_data / "dicom" / "JPGLosslessP14SV1_1s_1f_8b.dcm").read_bytes()
    original = pydicom.dcmread(io.BytesIO(content))
    region = original.SequenceOfUltrasoundRegions[0]
    window = np.s_[
        region.RegionLocationMinY0 : region.RegionLocationMaxY1 + 1,
        region.RegionLocationMinX0 : region.RegionLocationMaxX1 + 1,
    ]

    _, dataset = masked(content)

    same = stored_values(original)[0][window] == stored_values(dataset)[0][window]
    assert same.mean() > 0.9
    assert dataset.file_meta.TransferSyntaxUID == RLELossless


def test_every_frame_is_masked_and_lossy_stays_lossy(shared_data: Path) -> None:
    content = (shared_data / "dicom" / "examples_ybr_color.dcm").read_bytes()
    original = pydicom.dcmread(io.BytesIO(content))

    done, dataset = masked(content)
    after, _ = stored_values(dataset)

    assert after.shape == stored_values(original)[0].shape == (30, 240, 320, 3)
    assert done.masks is not None
    for left, top, right, bottom in done.masks.areas:
        assert (after[:, top:bottom, left:right] == after.min()).all()
    assert dataset.PhotometricInterpretation == "RGB"
    assert dataset.LossyImageCompression == original.LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("21f0cfca*", (0, 950, 300, 1010)),
        ("covid-19-pneumonia-41-day-2.png", (70, 20, 210, 45)),
        ("covid-19-pneumonia-41-day-2.png", (0, 90, 205, 115)),
    ],
)
def test_a_date_and_a_time_in_real_radiographs_are_found(
    shared_data: Path, name: str, area: tuple[int, int, int, int]
) -> None:
    image = radiograph(shared_data, name)
    left, top, right, bottom = area

    found = inside(find_text(image.astype(np.float32)), image.shape)

    assert found[top:bottom, left:right].all()


def test_nothing_is_found_in_a_radiograph_without_print(shared_data: Path) -> None:
    content = (shared_data / "dicom" / "RG1_J2KI.dcm").read_bytes()

    done, dataset = masked(content, PixelStep.ALL)

    assert done.masks is not None and done.masks.areas == ()
    assert dataset.PixelData == pydicom.dcmread(io.BytesIO(content)).PixelData


@pytest.mark.parametrize("size", [10, 14, 24, 48])
@pytest.mark.parametrize("bright", [True, False])
def test_printed_names_are_covered_on_real_radiographs(shared_data: Path, size: int, bright: bool) -> None:
    image = Image.fromarray(radiograph(shared_data, "covid-19-pneumonia-41-day-2.png"))
    ink = Image.new("L", image.size)
    font = ImageFont.load_default(size)
    for place in ((300, 300), (450, 600), (330, 780)):
        ImageDraw.Draw(ink).text(place, "QUETZAL Anna 31.01.2020", font=font, fill=255)
    values, drawn = np.asarray(image).astype(np.float32), np.asarray(ink) > 128
    surroundings = values.copy()
    values[drawn] = 255 if bright else 0

    found = inside(find_text(values), values.shape)

    # Bright print on a bright field, and dark on dark, cannot be read by people either.
    legible = drawn & (np.abs(values - surroundings) > 80)
    assert legible.sum() > 200
    assert found[legible].mean() > 0.95


def test_a_masked_radiograph_keeps_its_coding_and_every_other_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(900, 1100, (200, 300)).astype(np.uint16)
    canvas = Image.new("L", (300, 200))
    ImageDraw.Draw(canvas).text((40, 80), "QUETZAL 1961", font=ImageFont.load_default(20), fill=255)
    printed = np.where(np.asarray(canvas) > 128, 4000, pixels).astype(np.uint16)
    content = write_radiograph(tmp_path / "a.dcm", a_radiograph(printed, BurnedInAnnotation="YES")).read_bytes()

    done, dataset = masked(content)
    after, _ = stored_values(dataset)

    assert done.masks is not None
    covered = inside(list(done.masks.areas), printed.shape)
    assert covered[np.asarray(canvas) > 128].all() and covered.mean() < 0.2
    assert (after[covered] == printed.min()).all()
    assert (after[~covered] == printed[~covered]).all()
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert "113101" in {item.CodeValue for item in dataset.DeidentificationMethodCodeSequence}


@pytest.mark.parametrize("picture", [np.zeros((40, 40)), np.full((40, 40), 7.0), np.tile(np.arange(64.0), (64, 1))])
def test_nothing_is_found_in_nothing(picture: NDArray[Any]) -> None:
    assert find_text(picture.astype(np.float32)) == []


def test_boxes_that_touch_are_joined() -> None:
    assert merge([(0, 0, 2, 2), (9, 9, 10, 10), (5, 0, 7, 2), (2, 1, 5, 3)]) == [(0, 0, 7, 3), (9, 9, 10, 10)]
