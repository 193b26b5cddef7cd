from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ingest.dicom.errors import BadHeader, FileChanged, Undecodable, UnsupportedImage
from ingest.dicom.header import read_header
from ingest.dicom.lookup import apply_table
from ingest.dicom.pixels import display, read_radiograph
from ingest.index import index_archive
from ingest.pixels import Pixels
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(tmp_path: Path, pixels: NDArray[Any] = RAMP, **tags: Any) -> Pixels:
    """Display values of a generated radiograph."""
    return read_radiograph(write_radiograph(tmp_path / "image.dcm", a_radiograph(pixels, **tags)))


def lungs_are_darker(values: NDArray[np.float32]) -> bool:
    """True if both lungs of the real radiograph are darker than what lies between them."""
    height, width = values.shape
    rows = slice(int(0.35 * height), int(0.55 * height))
    right = values[rows, int(0.22 * width) : int(0.32 * width)].mean()
    left = values[rows, int(0.68 * width) : int(0.78 * width)].mean()
    middle = values[rows, int(0.46 * width) : int(0.54 * width)].mean()
    return bool(right < middle - 0.1 and left < middle - 0.1)


@pytest.mark.parametrize("name", ["RG1_J2KI.dcm", "RG1_JLSN"])
def test_the_real_chest_has_dark_lungs(shared_data: Path, name: str) -> None:
    pixels = read_radiograph(shared_data / "dicom" / name)

    assert lungs_are_darker(pixels.values[0])
    assert pixels.steps[-1] == "invert"


def test_the_real_chest_has_bright_lungs_without_the_inversion(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.dicom.pixels.is_inverted", lambda dataset: False)

    assert not lungs_are_darker(read_radiograph(shared_data / "dicom" / "RG1_JLSN").values[0])


def test_the_real_dx_says_twice_that_it_is_inverted_and_is_inverted_once(shared_data: Path) -> None:
    pixels = read_radiograph(shared_data / "dicom" / "dx_image.dcm")

    assert [step for step in pixels.steps if "invert" in step] == ["invert"]


def test_a_linear_window_is_that_of_the_standard(tmp_path: Path) -> None:
    pixels = shown(tmp_path, WindowCenter=2048, WindowWidth=1024)

    expected = np.clip((RAMP - (2048 - 0.5)) / (1024 - 1) + 0.5, 0, 1)
    assert pixels.values[0] == pytest.approx(expected, abs=1e-6)


def test_the_other_window_functions_are_those_of_the_standard(tmp_path: Path) -> None:
    exact = shown(tmp_path, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="LINEAR_EXACT")
    sigmoid = shown(tmp_path, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID")

    assert exact.values[0] == pytest.approx(np.clip((RAMP - 2048.0) / 1024 + 0.5, 0, 1), abs=1e-6)
    assert sigmoid.values[0] == pytest.approx(1 / (1 + np.exp(-4 * (RAMP - 2048.0) / 1024)), abs=1e-6)


def test_a_window_is_in_the_units_after_rescale(tmp_path: Path) -> None:
    pixels = shown(tmp_path, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3996, WindowWidth=2048)

    expected = np.clip((2.0 * RAMP - 100 - (3996 - 0.5)) / (2048 - 1) + 0.5, 0, 1)
    assert pixels.values[0] == pytest.approx(expected, abs=1e-6)


def test_a_negative_slope_turns_the_order_once(tmp_path: Path) -> None:
    pixels = shown(tmp_path, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)

    assert pixels.values[0, 0, 0] > 0.99
    assert pixels.values[0, -1, -1] < 0.01


def test_the_first_of_several_windows_is_taken_and_counted(tmp_path: Path) -> None:
    pixels = shown(tmp_path, WindowCenter=[1000, 3000], WindowWidth=[100, 100])

    assert "window 1000/100 LINEAR, 1 of 2" in pixels.steps


@pytest.mark.parametrize("width", [0, -5])
def test_a_window_that_the_standard_forbids_is_left_out_and_said(tmp_path: Path, width: int) -> None:
    pixels = shown(tmp_path, WindowCenter=1000, WindowWidth=width)

    assert any("not valid" in step for step in pixels.steps)
    assert pixels.values.max() == 1.0


def test_without_window_the_valid_pixels_are_stretched(tmp_path: Path) -> None:
    pixels = shown(tmp_path)

    low, high = np.percentile(RAMP, (0.5, 99.5))
    assert pixels.values[0] == pytest.approx(np.clip((RAMP - low) / (high - low), 0, 1), abs=1e-6)


def test_padding_takes_no_part_and_is_dark_even_when_inverted(tmp_path: Path) -> None:
    padded = RAMP % 100 + 1000
    padded[:10] = 0
    tags = {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}

    pixels = shown(tmp_path, padded.astype(np.uint16), **tags)

    assert not pixels.valid[:10].any()
    assert pixels.valid[10:].all()
    assert not pixels.values[0, :10].any()
    # Stretched over 1000 to 1099: with padding in the statistics nearly all would be one grey.
    assert pixels.values[0, 10:].std() > 0.2


def test_a_padding_range_is_left_out_whole(tmp_path: Path) -> None:
    pixels = shown(tmp_path, PixelPaddingValue=10, PixelPaddingRangeLimit=20)

    assert (~pixels.valid).sum() == 11


def test_nothing_but_padding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Undecodable, match="padding"):
        shown(tmp_path, np.zeros((6, 8), dtype=np.uint16), PixelPaddingValue=0)


def test_bits_beside_the_stored_ones_are_cut_off(tmp_path: Path) -> None:
    with_overlay = RAMP | np.uint16(0x8000)

    plain = shown(tmp_path, RAMP, BitsStored=12, HighBit=11)
    cut = shown(tmp_path, with_overlay, BitsStored=12, HighBit=11)

    assert np.array_equal(plain.values, cut.values)


def test_signed_values_keep_their_sign(tmp_path: Path) -> None:
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    pixels = shown(tmp_path, signed & np.int16(0x0FFF), BitsStored=12, HighBit=11, WindowCenter=0, WindowWidth=4096)

    assert pixels.values[0, 0, 0] < 0.01
    assert pixels.values[0, -1, -1] > 0.99


def a_table(entries: list[int], first: int, bits: int, *, raw: bool = True) -> Dataset:
    """An item of a lookup table sequence, its entries as raw words or as numbers."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    data = np.array(entries, dtype="<u2").tobytes() if raw else entries
    item["LUTData"] = DataElement("LUTData", "OW" if raw else "US", data)
    return item


def test_a_voi_table_goes_before_a_window(tmp_path: Path) -> None:
    table = a_table([255 - value // 16 for value in range(4096)], 0, 8)
    pixels = shown(tmp_path, VOILUTSequence=Sequence([table]), WindowCenter=1, WindowWidth=1)

    assert pixels.values[0, 0, 0] == 1.0
    assert pixels.values[0, -1, -1] == 0.0
    # 256 steps of an 8-bit table over 4096 values: an overflow would repeat them.
    assert (np.diff(pixels.values[0].ravel()) <= 0).all()


def test_a_modality_table_of_twelve_bits_is_applied(tmp_path: Path) -> None:
    table = a_table([4095 - value for value in range(4096)], 0, 12)
    table.ModalityLUTType = "US"
    pixels = shown(tmp_path, ModalityLUTSequence=Sequence([table]), WindowCenter=2048, WindowWidth=4096)

    assert pixels.values[0, 0, 0] > 0.99
    assert pixels.values[0, -1, -1] < 0.01


@given(st.lists(st.integers(-100, 400), min_size=1, max_size=30), st.integers(0, 50), st.booleans())
def test_a_table_clamps_at_both_ends(values: list[int], first: int, raw: bool) -> None:
    entries = [7 * at for at in range(200)]

    found, bits = apply_table(a_table(entries, first, 16, raw=raw), np.array(values))

    assert bits == 16
    assert list(found) == [entries[min(max(value - first, 0), 199)] for value in values]


def test_real_tables_are_applied(shared_data: Path) -> None:
    modality = read_radiograph(shared_data / "dicom" / "mlut_18.dcm")
    voi = read_radiograph(shared_data / "dicom" / "vlut_04.dcm")

    assert any("modality table" in step for step in modality.steps)
    assert any("VOI table" in step for step in voi.steps)
    assert voi.values.std() > 0.05


@given(inverted=st.booleans(), lut_shape=st.sampled_from(["", "IDENTITY", "INVERSE"]), window=st.booleans())
def test_inversion_is_the_last_step_and_happens_at_most_once(
    tmp_path_factory: pytest.TempPathFactory, inverted: bool, lut_shape: str, window: bool
) -> None:
    folder = tmp_path_factory.mktemp("one")
    tags: dict[str, Any] = {"WindowCenter": 1500, "WindowWidth": 900} if window else {}
    upright = shown(folder, **tags).values

    tags["PhotometricInterpretation"] = "MONOCHROME1" if inverted else "MONOCHROME2"
    if lut_shape:
        tags["PresentationLUTShape"] = lut_shape
    turned = shown(folder, **tags).values

    if inverted or lut_shape == "INVERSE":
        assert turned == pytest.approx(1 - upright, abs=1e-6)
    else:
        assert np.array_equal(turned, upright)


def test_shape_type_and_range_are_those_promised(tmp_path: Path) -> None:
    pixels = shown(tmp_path, RAMP[:32])

    assert pixels.values.shape == (1, 32, 64)
    assert pixels.values.dtype == np.float32
    assert 0.0 <= pixels.values.min() <= pixels.values.max() <= 1.0


def test_a_uniform_image_is_no_division_by_zero(tmp_path: Path) -> None:
    assert not shown(tmp_path, np.full((6, 8), 5, dtype=np.uint16)).values.any()


def test_an_indexed_file_that_changed_is_not_read(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "image.dcm")
    (acquisition,) = index_archive(tmp_path, workers=0).acquisitions
    assert read_radiograph(acquisition).grid == acquisition.grid

    with pytest.raises(FileChanged):
        read_radiograph(replace(acquisition, sha256="0" * 64))


def test_several_frames_are_no_radiograph_but_each_can_be_shown(shared_data: Path) -> None:
    path = shared_data / "dicom" / "emri_small.dcm"
    dataset = read_header(path.read_bytes())

    with pytest.raises(UnsupportedImage):
        read_radiograph(path)
    first, last = display(dataset), display(dataset, frame=9)

    assert "frame 10 of 10" in last.steps
    assert not np.array_equal(first.values, last.values)
    with pytest.raises(UnsupportedImage, match="fewer"):
        display(dataset, frame=10)


def test_a_frame_is_shown_by_its_own_window(shared_data: Path) -> None:
    dataset = read_header((shared_data / "dicom" / "eCT_Supplemental.dcm").read_bytes())
    for at, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = 100 * (at + 1), 400
        groups.FrameVOILUTSequence = [window]

    steps = [display(dataset, frame=at).steps for at in range(2)]

    assert "window 100/400 LINEAR, 1 of 1" in steps[0]
    assert "window 200/400 LINEAR, 1 of 1" in steps[1]


def test_colours_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImage):
        shown(tmp_path, PhotometricInterpretation="HSV")


def test_a_palette_without_tables_is_a_bad_header(tmp_path: Path) -> None:
    with pytest.raises(BadHeader, match="palette"):
        shown(tmp_path, PhotometricInterpretation="PALETTE COLOR")
