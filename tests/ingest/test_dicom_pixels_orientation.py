from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dicom.orientation import turn_upright
from ingest.dicom.pixels import read_radiograph
from ingest.index import index_archive
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

#: An upright picture without any symmetry, 4 x 6.
UPRIGHT = np.arange(24, dtype=np.uint16).reshape(4, 6)
OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))
#: Rows and columns of an upright view from the front and from the side.
VIEWS = ("LF", "PF")


def lying(view: str, transposed: bool, upside_down: bool, mirrored: bool) -> tuple[np.ndarray, list[str]]:
    """The upright picture as a scanner may have stored it, and what the header then says of rows and columns."""
    picture, (across, along) = UPRIGHT, view
    if mirrored:
        picture, across = picture[:, ::-1], OPPOSITE[across]
    if upside_down:
        picture, along = picture[::-1], OPPOSITE[along]
    return (picture.T, [along, across]) if transposed else (picture, [across, along])


@pytest.mark.parametrize(("view", "turns"), list(product(VIEWS, product((False, True), repeat=3))))
def test_however_a_picture_lies_it_is_shown_upright(tmp_path: Path, view: str, turns: tuple[bool, bool, bool]) -> None:
    picture, orientation = lying(view, *turns)
    tags: dict[str, Any] = {"WindowCenter": 12, "WindowWidth": 24}
    # Rows are 0.2 mm apart in the upright picture.
    tags["PixelSpacing"] = [0.1, 0.2] if turns[0] else [0.2, 0.1]
    write_radiograph(tmp_path / "a.dcm", a_radiograph(picture, PatientOrientation=orientation, **tags))
    (acquisition,) = index_archive(tmp_path, workers=0).acquisitions

    pixels = read_radiograph(acquisition)

    assert np.array_equal(np.rint(pixels.values[0] * 23), UPRIGHT)
    assert pixels.grid == acquisition.grid
    assert pixels.grid.affine[0::4] == (0.1, 0.2)
    assert any("turn upright" in step for step in pixels.steps) == any(turns)
    assert ("turned upright" in acquisition.attributes.get("warnings", "")) == any(turns)


@pytest.mark.parametrize("orientation", [None, [], ["L"], ["", ""], ["A", "L"], ["L", "R"], ["H", "F"], ["X", "Y"]])
def test_what_is_not_said_or_not_upright_stays_as_it_is(orientation: list[str] | None) -> None:
    made = a_radiograph()
    if orientation is not None:
        made.PatientOrientation = orientation

    assert not turn_upright(made)


def test_a_slice_with_a_place_in_space_is_never_turned() -> None:
    assert turn_upright(a_radiograph(PatientOrientation=["R", "F"]))
    assert not turn_upright(a_radiograph(PatientOrientation=["R", "F"], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))


@given(st.sampled_from(["LF", "LFP", "L"]), st.sampled_from(["F", "FP"]))
def test_only_the_main_direction_counts(rows: str, columns: str) -> None:
    assert not turn_upright(a_radiograph(PatientOrientation=[rows, columns]))
    assert turn_upright(a_radiograph(PatientOrientation=["R" + rows[1:], columns])).mirrored
