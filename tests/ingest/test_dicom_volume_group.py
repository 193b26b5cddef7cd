"""Which volumes the files of a series make: every file counted once, identities, hashes, and the way back to files."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from ingest.dicom.errors import Localizer
from ingest.dicom.volume_group import group_volumes, slice_files, volume_header
from ingest.dicom.volume_read import read_volume
from ingest.dicom.weighting import weighting
from ingest.errors import Refusal
from tests.ingest.volume_files import CORONAL, SERIES, a_series, a_slice, an_enhanced_file, instances_of, write_slices

UNDECODABLE = Refusal(item="x", level="file", code="UNDECODABLE", reason="No decoder.")


def test_a_series_is_one_acquisition_of_all_its_files() -> None:
    series = a_series(6)
    for index, dataset in enumerate(series):
        dataset.AcquisitionTime = f"1015{59 - index:02d}"

    (volume,), refusals, unreadable = group_volumes(instances_of(series[::-1]))

    assert (refusals, unreadable) == ((), ())
    assert volume.id == SERIES
    assert volume.group == "CT:CHEST"
    assert volume.view == ""
    assert volume.time == datetime(2020, 1, 1, 10, 15, 54)
    assert volume.names == tuple(f"{index}.dcm" for index in range(5, -1, -1))
    assert volume.grid.frame == series[0].FrameOfReferenceUID
    assert volume.attributes["slices"] == "6"
    assert volume.attributes["plane"] == "AXIAL"
    assert volume.attributes["spacing_mm"] == "2.5 1 1"
    assert "Canary" not in repr(volume)


@settings(deadline=None, max_examples=20)
@given(st.permutations(list(range(5))))
def test_hashes_and_files_depend_on_places_only(order: list[int]) -> None:
    instances = instances_of(a_series(5))
    (expected,), _, _ = group_volumes(instances)
    (volume,), _, _ = group_volumes([instances[index] for index in order])
    assert volume == expected
    (header_only,), _, _ = group_volumes([replace(one, sha256="", pixel_sha256="") for one in instances])
    assert (header_only.sha256, header_only.pixel_sha256) == ("", "")


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(range(12)), min_size=1, max_size=14, unique=True), st.sets(st.sampled_from(range(12))))
def test_every_file_is_used_or_refused_exactly_once(present: list[int], broken: set[int]) -> None:
    series = [
        *a_series(5),
        *(a_slice(n, (0, 3.0 * n, 0), orientation=CORONAL) for n in range(6, 10)),
        *(a_slice(n, (0, 0, 500.0), SOPInstanceUID=f"1.2.{n}") for n in range(10, 13)),
    ]
    every = instances_of(series)
    instances = [replace(every[index], refusal=UNDECODABLE if index in broken else None) for index in present]

    volumes, refusals, unreadable = group_volumes(instances)

    counted = sorted([*(name for one in volumes for name in one.names), *(one.item for one in refusals)])
    assert counted == sorted(one.name for one in instances if one.refusal is None)
    assert all(one.level == "file" for one in refusals)
    for one in unreadable:
        assert set(one.names) & {every[index].name for index in broken}


def test_a_slice_that_cannot_be_decoded_makes_the_volume_unreadable() -> None:
    instances = instances_of(a_series(6))
    instances[2] = replace(instances[2], refusal=UNDECODABLE)

    volumes, refusals, (unreadable,) = group_volumes(instances)

    assert not volumes
    assert {one.code for one in refusals} == {"SLICES_MISSING"}
    assert len(refusals) == 5
    assert refusals[0].reason.startswith("1 of 6 slices")
    assert unreadable.id == SERIES


def test_a_refused_double_of_a_slice_takes_nothing_away() -> None:
    instances = instances_of(a_series(6))
    instances.append(replace(instances[2], name="double.dcm", refusal=UNDECODABLE))
    (volume,), refusals, unreadable = group_volumes(instances)
    assert (len(volume.files), refusals, unreadable) == (6, (), ())


def test_two_stacks_have_ids_of_their_own() -> None:
    echoes = [one for echo in ("20", "90") for one in a_series(4, modality="MR", EchoTime=echo, RepetitionTime="3000")]
    volumes, _, _ = group_volumes(instances_of(echoes))
    assert [one.id for one in volumes] == [f"{SERIES}:1", f"{SERIES}:2"]
    assert len({one.sha256 for one in volumes}) == 2


def test_files_without_a_series_are_refused() -> None:
    volumes, refusals, _ = group_volumes(instances_of(a_series(4, SeriesInstanceUID=None)))
    assert not volumes
    assert [one.code for one in refusals] == ["BAD_HEADER"] * 4


def test_from_an_acquisition_back_to_its_voxels(tmp_path: Path) -> None:
    series = a_series(5)
    paths = write_slices(tmp_path, series, ["c", "a", "e", "b", "d"])
    (acquisition,), _, _ = group_volumes(instances_of(series, paths))

    volume = read_volume(slice_files(acquisition))

    assert volume.values[:, 0, 0].tolist() == [1001 + index - 1024 for index in range(5)]
    assert volume.grid.slice_grid() == acquisition.grid


def test_two_volumes_of_one_file_share_it(tmp_path: Path) -> None:
    frames = [
        *(a_slice(n, (0, 0, 2.0 * n)) for n in range(1, 5)),
        *(a_slice(n, (0, 3.0 * n, 0), orientation=CORONAL) for n in range(5, 9)),
    ]
    made = an_enhanced_file(frames)
    paths = write_slices(tmp_path, [made])

    (axial, coronal), refusals, _ = group_volumes(instances_of([made], paths))

    assert not refusals
    assert axial.names == coronal.names == ("0000.dcm",)
    assert axial.attributes["frames"] == "0 1 2 3"
    assert axial.pixel_sha256 != coronal.pixel_sha256
    volume = read_volume(slice_files(coronal))
    assert volume.grid.plane == "CORONAL"
    assert sorted(volume.values[:, 0, 0].tolist()) == [1000 + n - 1024 for n in range(5, 9)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"SeriesDescription": "t1_mprage_sag"}, "T1"),
        ({"SeriesDescription": "AX T2 FLAIR"}, "FLUID_ATTENUATED"),
        ({"SeriesDescription": "ep2d_diff_3scan_trace", "DiffusionBValue": 1000.0}, "DIFFUSION"),
        ({"SeriesDescription": "AX T2* GRE"}, "T2_STAR"),
        ({"EchoTime": "12", "RepetitionTime": "500"}, "T1"),
        ({"EchoTime": "100", "RepetitionTime": "4000"}, "T2"),
        ({"EchoTime": "120", "RepetitionTime": "9000", "InversionTime": "2500"}, "FLUID_ATTENUATED"),
        ({"EchoTime": "3", "RepetitionTime": "2000", "InversionTime": "900"}, "T1"),
        ({"EchoTime": "15", "RepetitionTime": "3000"}, "PROTON_DENSITY"),
        ({"EchoTime": "20", "RepetitionTime": "700", "ScanningSequence": "GR"}, "T2_STAR"),
        ({"AcquisitionContrast": "PERFUSION"}, "PERFUSION"),
        ({"EchoTime": None, "RepetitionTime": None}, ""),
    ],
)
def test_the_weighting_is_read_from_words_and_times(tags: dict[str, Any], expected: str) -> None:
    assert weighting(a_slice(1, (0, 0, 0), modality="MR", **tags)) == expected


def test_a_real_patient_has_one_volume_and_reasons_for_the_rest(shared_data: Path) -> None:
    archive = shared_data / "dicom" / "dicomdirtests"
    heart = sorted((archive / "98892001" / "CT5N").iterdir())
    (volume,), refusals, _ = group_volumes(instances_of([dcmread(path) for path in heart], heart))
    assert not refusals
    assert volume.attributes["spacing_mm"] == "2.5 0.4883 0.4883"
    assert volume.attributes["time_precision"] == "second"
    assert read_volume(slice_files(volume)).values.shape == (5, 16, 16)

    head = sorted((archive / "77654033" / "CT2").iterdir())
    volumes, refusals, _ = group_volumes(instances_of([dcmread(path) for path in head], head))
    assert not volumes
    assert [one.code for one in refusals] == ["SLICES_MISSING"] * 4

    with pytest.raises(Localizer):
        volume_header(dcmread(archive / "98892003" / "MR2" / "4950"))


def test_a_slice_of_several_series_values_is_kept_through_json() -> None:
    header = json.loads(json.dumps(volume_header(a_slice(1, (0.1, -2.7, 3e-5)))))
    np.testing.assert_allclose(header["slices"][0]["position"], (0.1, -2.7, 3e-5))
