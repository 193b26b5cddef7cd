"""Which volumes are paired: modality and weighting with their own, and the series that is most alike."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from ingest.acquisition import Acquisition
from ingest.dicom.pair import pair_radiographs
from ingest.dicom.volume_group import group_volumes
from tests.ingest.volume_files import CORONAL, a_series, instances_of


def a_volume(day: int, series: int = 1, n_slices: int = 6, **tags: Any) -> Acquisition:
    """A volume of the study of one day."""
    study = f"1.2.826.0.1.3680043.8.498.{day}"
    date = f"202001{day:02d}"
    made = a_series(
        n_slices, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.{series}", AcquisitionDate=date, **tags
    )
    (volume,), _, _ = group_volumes(instances_of(made))
    # All series of these tests have the same pixels, which would make every pair a duplicate.
    return replace(volume, pixel_sha256=volume.id)


def test_the_latest_earlier_volume_of_the_region_is_the_prior() -> None:
    volumes = [a_volume(day) for day in (1, 9, 4)]
    pairing = pair_radiographs(volumes)
    assert [(one.prior.time, one.current.time) for one in pairing.pairs] == [
        (datetime(2020, 1, 1, 10, 15), datetime(2020, 1, 4, 10, 15)),
        (datetime(2020, 1, 4, 10, 15), datetime(2020, 1, 9, 10, 15)),
    ]
    assert [one.code for one in pairing.unpaired] == ["NO_PRIOR"]
    assert pairing.pairs[0].reason == "It shows the same region and is the most recent comparable earlier study."
    assert not any("view" in one for one in pairing.pairs[0].warnings)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"modality": "CT"}, {"modality": "MR"}),
        ({"modality": "MR", "SeriesDescription": "AX T1"}, {"modality": "MR", "SeriesDescription": "AX T2"}),
        ({"BodyPartExamined": "CHEST"}, {"BodyPartExamined": "HEAD"}),
    ],
)
def test_what_shows_something_else_is_no_prior(one: dict[str, Any], other: dict[str, Any]) -> None:
    pairing = pair_radiographs([a_volume(1, **one), a_volume(5, **other)])
    assert not pairing.pairs
    assert sorted(left.code for left in pairing.unpaired) == ["NO_PRIOR", "NO_SAME_BODY_PART"]


def test_of_several_volumes_the_finest_axial_one_is_reported_on() -> None:
    thick, thin = a_volume(5, 1, 6), a_volume(5, 2, 12)
    coronal = a_volume(5, 3, 20, orientation=CORONAL, step=(0, 2, 0))
    pairing = pair_radiographs([a_volume(1), thick, thin, coronal])
    (pair,) = pairing.pairs
    assert pair.current == thin
    assert {one.item: one.code for one in pairing.unused} == {thick.id: "NOT_SELECTED", coronal.id: "NOT_SELECTED"}
    assert "its volume of 12 AXIAL slices" in pairing.unused[0].reason


def test_one_volume_sent_twice_is_a_duplicate() -> None:
    pairing = pair_radiographs([replace(a_volume(day), pixel_sha256="0" * 64) for day in (1, 5)])
    assert not pairing.pairs
    assert sorted(one.code for one in pairing.unpaired) == ["DUPLICATE", "NO_PRIOR"]


def test_the_prior_is_the_volume_most_alike() -> None:
    soft, lung = a_volume(1, 1, ConvolutionKernel="B30f"), a_volume(1, 2, 12, ConvolutionKernel="B70f")
    current = a_volume(5, 1, ConvolutionKernel="B30f")
    (pair,) = pair_radiographs([soft, lung, current]).pairs
    assert pair.prior == soft
