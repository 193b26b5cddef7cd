"""Which slices of a series are a volume: order, geometry, and what is refused with which code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from ingest.dicom.errors import BadHeader, DerivedObject, Localizer, NoGeometry
from ingest.dicom.series import stack_series
from ingest.dicom.slices import Slice, read_slices
from tests.ingest.volume_files import AXIAL, CORONAL, SAGITTAL, a_series, a_slice, an_enhanced_file


def slices_of(*datasets: Dataset) -> list[Slice]:
    return [one for dataset in datasets for one in read_slices(dataset)]


def codes(slices: list[Slice]) -> list[str]:
    stacks, refused = stack_series(slices)
    assert sorted(one.number for part in (*stacks, *refused) for one in part.slices) == sorted(
        one.number for one in slices
    )
    return [one.error.code for one in refused]


def test_the_affine_is_that_of_the_standard_for_an_oblique_series() -> None:
    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    row, column, normal = turn[:, 0], turn[:, 1], np.cross(turn[:, 0], turn[:, 1])
    series = a_series(5, step=3.0 * normal, orientation=(*row, *column), spacing=(0.5, 0.75))

    (stack,), refused = stack_series(slices_of(*series))

    assert not refused
    first = np.array([float(one) for one in series[0].ImagePositionPatient])
    # PS3.3 C.7.6.2.1.1: a step along the columns' index is the row's direction times the distance of columns.
    for k, r, c in ((0, 0, 0), (0, 3, 0), (0, 0, 7), (4, 7, 9)):
        expected = first + k * 3.0 * normal + r * 0.5 * column + c * 0.75 * row
        np.testing.assert_allclose(stack.grid.places(np.array([k, r, c])), expected, atol=1e-4)
    np.testing.assert_allclose(stack.grid.indices(stack.grid.places(np.array([[1.5, 2, 3]]))), [[1.5, 2, 3]], atol=1e-9)
    assert stack.grid.spacing_mm == pytest.approx((3.0, 0.5, 0.75), abs=1e-5)
    assert stack.grid.tilt_deg == pytest.approx(0, abs=0.01)


@given(st.permutations(list(range(8))))
def test_the_order_of_files_and_numbers_does_not_matter(order: list[int]) -> None:
    series = a_series(8)
    for place, dataset in zip(order, series, strict=True):
        dataset.InstanceNumber = place + 1

    (stack,), _ = stack_series([read_slices(series[place])[0] for place in order])

    assert [one.position[2] for one in stack.slices] == [-30 + 2.5 * index for index in range(8)]


def test_a_series_from_head_to_feet_is_the_same_volume() -> None:
    up, down = a_series(6), a_series(6)[::-1]
    for index, dataset in enumerate(down):
        dataset.InstanceNumber = index + 1

    (one,), _ = stack_series(slices_of(*up))
    (other,), _ = stack_series(slices_of(*down))

    assert one.grid == other.grid


@pytest.mark.parametrize(
    ("orientation", "step", "plane"),
    [(AXIAL, (0, 0, 4), "AXIAL"), (CORONAL, (0, 4, 0), "CORONAL"), (SAGITTAL, (-4, 0, 0), "SAGITTAL")],
)
def test_the_plane_is_named(orientation: tuple[float, ...], step: tuple[float, ...], plane: str) -> None:
    (stack,), _ = stack_series(slices_of(*a_series(4, orientation=orientation, step=step)))

    assert stack.grid.plane == plane
    assert float(np.linalg.det(stack.grid.matrix[:3, [2, 1, 0]])) > 0


def test_a_missing_slice_is_counted() -> None:
    series = a_series(10)
    del series[4], series[6]

    _, (refused,) = stack_series(slices_of(*series))

    assert refused.error.code == "SLICES_MISSING"
    assert str(refused.error).startswith("2 of 10 slices are missing")


def test_most_slices_missing_is_still_a_gap() -> None:
    series = a_series(9)
    assert codes(slices_of(*(series[index] for index in (0, 1, 4, 6, 8)))) == ["SLICES_MISSING"]


def test_one_place_twice_is_refused() -> None:
    series = a_series(5)
    assert codes(slices_of(*series, a_slice(9, (-10, -20, -25), SOPInstanceUID="1.2.3.4"))) == ["SLICES_DUPLICATED"]
    assert codes(slices_of(*series, a_slice(9, (-10, -20, -25.1), SOPInstanceUID="1.2.3.4"))) == ["SLICES_DUPLICATED"]


def test_uneven_distances_are_refused() -> None:
    slices = slices_of(*(a_slice(n, (0, 0, z)) for n, z in enumerate((0, 2, 4, 7, 9, 11), start=1)))
    assert codes(slices) == ["SPACING_UNEVEN"]


def test_distances_as_uneven_as_rounding_makes_them_are_kept() -> None:
    slices = slices_of(*(a_slice(n, (0, 0, round(n * 0.625, 1))) for n in range(1, 60)))
    (stack,), _ = stack_series(slices)
    assert stack.grid.spacing_mm[0] == pytest.approx(0.625, abs=0.003)


def test_a_tilted_gantry_is_a_sheared_volume_with_a_warning() -> None:
    tilt = np.radians(22)
    orientation = (1, 0, 0, 0, np.cos(tilt), -np.sin(tilt))
    series = a_series(6, step=(0, 0, 5), orientation=orientation, GantryDetectorTilt="-22")

    (stack,), refused = stack_series(slices_of(*series))

    assert not refused
    assert stack.grid.tilt_deg == pytest.approx(22, abs=0.01)
    assert "tilted" in stack.warnings[0]
    np.testing.assert_allclose(stack.grid.places(np.array([5, 0, 0])), (-10, -20, -5), atol=1e-6)


def test_a_tilt_that_the_places_deny_is_told() -> None:
    (stack,), _ = stack_series(slices_of(*a_series(GantryDetectorTilt="-22")))
    assert "the places were believed" in " ".join(stack.warnings)


def test_slices_on_a_slope_steeper_than_any_gantry_are_refused() -> None:
    assert codes(slices_of(*a_series(6, step=(0, 6, 2)))) == ["GANTRY_TILT"]


def test_slices_shifted_sideways_at_random_are_refused() -> None:
    slices = slices_of(*(a_slice(n, (x, 0, 3 * n)) for n, x in enumerate((0, 9, -4, 7, 0), start=1)))
    assert codes(slices) == ["SPACING_UNEVEN"]


def test_orientations_of_one_series_are_volumes_of_their_own() -> None:
    series = [
        *(a_slice(n, (0, 0, 3 * n)) for n in range(1, 6)),
        *(a_slice(n, (0, 3 * n, 0), orientation=CORONAL) for n in range(6, 10)),
    ]
    stacks, refused = stack_series(slices_of(*series))
    assert [(one.grid.plane, len(one.slices)) for one in stacks] == [("AXIAL", 5), ("CORONAL", 4)]
    assert not refused


def test_a_survey_in_three_planes_is_refused() -> None:
    planes = ((AXIAL, (0, 0, 1)), (CORONAL, (0, 1, 0)), (SAGITTAL, (1, 0, 0)))
    slices = slices_of(*(a_slice(n, place, orientation=one) for n, (one, place) in enumerate(planes, start=1)))
    assert codes(slices) == ["MIXED_ORIENTATIONS"] * 3


def test_two_slices_are_no_volume() -> None:
    assert codes(slices_of(*a_series(2))) == ["TOO_FEW_SLICES"]
    assert stack_series([]) == ((), ())


@pytest.mark.parametrize(
    "tags",
    [
        ({"EchoTime": "20"}, {"EchoTime": "90"}),
        ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}),
    ],
)
def test_repeats_that_differ_in_contrast_or_time_are_stacks_of_their_own(tags: tuple[dict[str, Any], ...]) -> None:
    series = [one for these in tags for one in a_series(4, modality="MR", **these)]
    stacks, refused = stack_series(slices_of(*series))
    assert [len(one.slices) for one in stacks] == [4, 4]
    assert not refused


def test_an_acquisition_number_for_each_slice_splits_nothing() -> None:
    slices = slices_of(*(a_slice(n, (0, 0, n), AcquisitionNumber=n) for n in range(1, 7)))
    (stack,), _ = stack_series(slices)
    assert len(stack.slices) == 6


def test_frames_of_one_file_are_slices() -> None:
    series = a_series(6)
    frames = read_slices(an_enhanced_file([series[index] for index in (3, 1, 5, 0, 2, 4)]))

    (stack,), _ = stack_series(frames)

    (expected,), _ = stack_series(slices_of(*series))
    assert [one.frame for one in stack.slices] == [3, 1, 4, 0, 5, 2]
    assert stack.grid == expected.grid


def test_frames_without_a_description_are_refused() -> None:
    made = an_enhanced_file(a_series(6))
    made.NumberOfFrames = 7
    with pytest.raises(BadHeader, match="describes 6 frames"):
        read_slices(made)


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Localizer),
        ({"SeriesDescription": "FAST LOCALIZER"}, Localizer),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]}, DerivedObject),
        ({"ImagePositionPatient": None}, NoGeometry),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, NoGeometry),
        ({"PixelSpacing": ["0", "1"]}, NoGeometry),
    ],
)
def test_what_is_no_slice_is_refused_on_its_own(tags: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_slices(a_slice(1, (0, 0, 0), **tags))


def test_real_series(shared_data: Path) -> None:
    archive = shared_data / "dicom" / "dicomdirtests"

    def read(folder: str) -> list[Slice]:
        return slices_of(*(dcmread(path) for path in sorted((archive / folder).iterdir())))

    (heart,), refused = stack_series(read("98892001/CT5N"))
    assert not refused
    assert [one.number for one in heart.slices] == [10, 9, 8, 7, 6]
    assert heart.grid.spacing_mm == pytest.approx((2.5, 0.488281, 0.488281))
    assert heart.warnings == ("The slices' numbers begin at 6: slices may be missing at one end.",)
    _, (head,) = stack_series(read("77654033/CT2"))
    # Slices 18, 180, 181 and 182 of the series are in the archive.
    assert str(head.error).startswith("161 of 165 slices are missing")
    for folder, error in (("98892001/CT2N", Localizer), ("98892003/MR1", Localizer), ("98892003/MR700", DerivedObject)):
        with pytest.raises(error):
            read(folder)
