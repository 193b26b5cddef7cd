import dataclasses
import importlib.util
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from ingest import verify
from ingest.catalogue import MemoryCatalogue
from ingest.dicom.pixels import read_radiograph
from ingest.index import ArchiveIndex, ArchiveMissing, UnknownDomain, index_archive
from ingest.record import IMAGE, RADIOLOGY, SATELLITE, Record, Stamp
from tests.ingest.radiograph_files import a_radiograph, write_radiograph


def codes(index: ArchiveIndex) -> dict[str, str]:
    """Code of every refused file."""
    return {refusal.item: refusal.code for refusal in index.refusals}


def other_picture() -> "np.ndarray[tuple[int, int], np.dtype[np.uint16]]":
    return np.full((6, 8), 77, dtype=np.uint16)


def test_every_file_ends_exactly_once(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a" / "image.dcm")
    (tmp_path / "a" / "junk.dcm").write_bytes(b"\1\2\3" * 200)
    (tmp_path / "notes.txt").write_text("two studies", encoding="utf-8")
    (tmp_path / "bundle.zip").write_bytes(b"PK\3\4" + b"\0" * 100)
    (tmp_path / "empty").touch()

    index = index_archive(tmp_path, workers=0)

    assert [one.name for one in index.acquisitions] == ["a/image.dcm"]
    assert codes(index) == {"a/junk.dcm": "NOT_DICOM", "bundle.zip": "ZIP_UNREADABLE", "empty": "EMPTY_FILE"}
    assert [one.item for one in index.sidecars] == ["notes.txt"]
    assert index.files_seen == 5


def test_a_database_inside_the_archive_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "interval.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE report (id TEXT)")

    index = index_archive(tmp_path, workers=0)
    connection.close()

    assert [one.item for one in index.sidecars] == ["interval.sqlite", "interval.sqlite-shm", "interval.sqlite-wal"]
    assert index.refusals == ()


def test_the_answer_is_the_same_with_several_processes(tmp_path: Path) -> None:
    for number in range(40):
        picture = np.full((6, 8), number, dtype=np.uint16)
        write_radiograph(tmp_path / str(number % 3) / f"{number}.dcm", a_radiograph(picture, PatientID=f"{number}"))
    (tmp_path / "1" / "junk.dcm").write_bytes(b"junk" * 50)

    assert index_archive(tmp_path, workers=2) == index_archive(tmp_path, workers=0)


def test_progress_counts_to_the_number_of_files(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "image.dcm")
    (tmp_path / "readme.md").write_text("hello", encoding="utf-8")
    calls: list[tuple[str, int, int]] = []

    index_archive(tmp_path, workers=0, progress=lambda *call: calls.append(call))

    assert calls[-2:] == [("index", 2, 2), ("verify", 1, 1)]
    assert all(done <= total for _, done, total in calls)


def test_a_copy_of_a_file_is_a_duplicate(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.dcm").read_bytes())

    index = index_archive(tmp_path, workers=0)

    assert [one.name for one in index.acquisitions] == ["a.dcm"]
    assert codes(index) == {"b.dcm": "DUPLICATE"}


def test_the_same_picture_in_another_coding_is_a_duplicate(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm")
    write_radiograph(tmp_path / "b.dcm", a_radiograph(), syntax=RLELossless)

    assert codes(index_archive(tmp_path, workers=0)) == {"b.dcm": "DUPLICATE"}


def test_one_uid_for_two_pictures_is_a_conflict_and_the_first_is_used(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", a_radiograph(SOPInstanceUID="1.2.3"))
    write_radiograph(tmp_path / "b.dcm", a_radiograph(other_picture(), SOPInstanceUID="1.2.3"))

    index = index_archive(tmp_path, workers=0)

    assert [one.name for one in index.acquisitions] == ["a.dcm"]
    assert codes(index) == {"b.dcm": "UID_CONFLICT"}


def test_a_truncated_copy_does_not_hide_the_whole_one(tmp_path: Path) -> None:
    whole = write_radiograph(tmp_path / "b.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-20])

    index = index_archive(tmp_path, workers=0)

    assert [one.name for one in index.acquisitions] == ["b.dcm"]
    assert codes(index) == {"a.dcm": "TRUNCATED"}


def test_a_copy_without_identity_does_not_hide_the_identified_one(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", a_radiograph(PatientID="", SOPInstanceUID="1.2.3"))
    write_radiograph(tmp_path / "b.dcm", a_radiograph(SOPInstanceUID="1.2.3"))

    index = index_archive(tmp_path, workers=0)

    assert [one.name for one in index.acquisitions] == ["b.dcm"]


def test_a_file_without_patient_id_has_no_identity(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", a_radiograph(PatientID="  "))
    write_radiograph(tmp_path / "b.dcm", a_radiograph(other_picture(), PatientID=None))

    assert codes(index_archive(tmp_path, workers=0)) == {"a.dcm": "NO_IDENTITY", "b.dcm": "NO_IDENTITY"}


def test_a_file_cut_before_its_pixels_is_truncated(tmp_path: Path) -> None:
    content = write_radiograph(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: content.index(b"\xe0\x7f\x10\x00")])

    assert codes(index_archive(tmp_path, workers=0)) == {"a.dcm": "TRUNCATED"}


def test_every_length_of_a_cut_file_is_refused(tmp_path: Path) -> None:
    content = write_radiograph(tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "whole.dcm").unlink()
    for length in range(0, len(content), 23):
        (tmp_path / f"{length:05d}.dcm").write_bytes(content[:length])

    index = index_archive(tmp_path, workers=0)

    assert not index.acquisitions
    assert index.files_seen == len(index.refusals) == len(range(0, len(content), 23))
    assert "UNREADABLE" not in codes(index).values()


def test_several_frames_are_no_radiograph(tmp_path: Path) -> None:
    frames = a_radiograph(np.arange(96, dtype=np.uint16).reshape(12, 8))
    frames.NumberOfFrames, frames.Rows = 2, 6
    write_radiograph(tmp_path / "frames.dcm", frames)

    assert codes(index_archive(tmp_path, workers=0)) == {"frames.dcm": "UNSUPPORTED_IMAGE"}


def test_other_modalities_are_decoded_and_left(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "mg.dcm", a_radiograph(Modality="MG"))
    cut = write_radiograph(tmp_path / "us.dcm", a_radiograph(Modality="US")).read_bytes()[:-20]
    (tmp_path / "us.dcm").write_bytes(cut)

    assert codes(index_archive(tmp_path, workers=0)) == {"mg.dcm": "UNSUPPORTED_MODALITY", "us.dcm": "TRUNCATED"}


def test_a_header_that_cannot_be_read_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = write_radiograph(tmp_path / "a.dcm").read_bytes()
    # The length of PatientSex is made to run past the end of the file.
    at = broken.index(b"\x10\x00\x40\x00CS")
    (tmp_path / "a.dcm").write_bytes(broken[: at + 6] + b"\xff\xff" + broken[at + 8 :])
    write_radiograph(tmp_path / "b.dcm", a_radiograph(other_picture()))

    index = index_archive(tmp_path, workers=0)

    assert [one.name for one in index.acquisitions] == ["b.dcm"]
    assert len(index.refusals) == 1


def test_a_file_without_preamble_needs_a_class_and_a_patient(tmp_path: Path) -> None:
    content = write_radiograph(tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "whole.dcm").unlink()
    # Group 8 is where the image's own elements start, after preamble and file meta information.
    (tmp_path / "bare").write_bytes(content[content.index(b"\x08\x00\x16\x00UI") :])
    (tmp_path / "text").write_text("Dear colleague, please find the images attached. " * 10, encoding="utf-8")

    index = index_archive(tmp_path, workers=0)

    assert codes(index)["text"] == "NOT_DICOM"
    # Without meta header nothing says how the pixels are coded, so they are not guessed at.
    assert codes(index)["bare"] == "UNDECODABLE"


def test_what_cannot_be_opened_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    write_radiograph(tmp_path / "image.dcm")

    index = index_archive(tmp_path, workers=0)

    assert codes(index) == {"pipe.dcm": "UNREADABLE", "gone.dcm": "UNREADABLE", "loop": "UNREADABLE"}
    assert index.files_seen == 4


def test_a_name_that_is_no_utf8_can_be_written_down(tmp_path: Path) -> None:
    write_radiograph(tmp_path / os.fsdecode(b"M\xfcller") / "image.dcm")

    (acquisition,) = index_archive(tmp_path, workers=0).acquisitions

    assert acquisition.name == "M\\xfcller/image.dcm"
    assert acquisition.name.encode("utf-8")
    assert acquisition.path.exists()


def test_the_other_domain_can_be_left_aside(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "image.dcm")
    (tmp_path / "scene.tif").write_bytes(b"II*\0" + b"\0" * 50)

    radiology = index_archive(tmp_path, workers=0, domain="radiology")
    satellite = index_archive(tmp_path, workers=0, domain="satellite")

    assert [one.name for one in radiology.acquisitions] == ["image.dcm"]
    assert [one.item for one in radiology.sidecars] == ["scene.tif"]
    assert [one.item for one in satellite.sidecars] == ["image.dcm"]
    assert [one.item for one in satellite.refusals] == ["scene.tif"]


def test_an_unknown_domain_and_a_missing_folder_are_said() -> None:
    with pytest.raises(UnknownDomain):
        index_archive(Path(), domain="dentistry")
    with pytest.raises(ArchiveMissing):
        index_archive(Path("no such folder"))


def test_an_empty_folder_gives_an_empty_index(tmp_path: Path) -> None:
    index = index_archive(tmp_path)

    assert (index.files_seen, index.acquisitions, index.refusals, index.sidecars) == (0, (), (), ())


def test_nothing_of_the_patient_is_in_the_index(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm")
    write_radiograph(tmp_path / "b.dcm", a_radiograph(other_picture(), Modality="US"))
    write_radiograph(tmp_path / "c.dcm", a_radiograph(AccessionNumber="CANARY-77", NumberOfFrames=3))
    write_radiograph(tmp_path / "d.dcm", a_radiograph(PatientID=""))
    (tmp_path / "e.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:-9])

    index = index_archive(tmp_path, workers=0)

    assert len(index.acquisitions) == 1
    assert len(index.refusals) == 4
    written = str([dataclasses.asdict(one) for one in (*index.acquisitions, *index.refusals)])
    for secret in ("Canary", "CANARY", "Yellow", "YELLOW", "00417", "19610203"):
        assert secret not in written


def test_the_real_files_all_end_somewhere_and_the_undecodable_ones_are_those_known(
    expected: list[dict[str, str]], real_index: ArchiveIndex
) -> None:
    found = codes(real_index)

    undecodable = {name for name, code in found.items() if code in ("UNDECODABLE", "TRUNCATED")}

    known = {row["file"] for row in expected if row["pixels"].startswith("ERR")}
    # 12-bit extended JPEG is read by pylibjpeg-libjpeg alone, which is GPL and therefore no requirement.
    known.add("JPGExtended.dcm")
    if importlib.util.find_spec("pylibjpeg") is None:
        # A JPEG 2000 stream whose sign contradicts the header: only pylibjpeg reads it.
        known.add("J2K_pixelrep_mismatch.dcm")
    assert undecodable == known
    assert real_index.files_seen == len(expected) + 2
    assert real_index.files_seen == real_index.files_used + len(real_index.refusals) + len(real_index.sidecars)


def test_of_the_real_files_the_radiographs_are_used_and_the_rest_has_its_reason(real_index: ArchiveIndex) -> None:
    found = codes(real_index)

    assert [one.name for one in real_index.acquisitions] == [
        "RG1_J2KI.dcm",
        "RG1_JLSN",
        "dicomdirtests/77654033/CR1/6154",
        "dicomdirtests/77654033/CR2/6247",
        "dicomdirtests/77654033/CR3/6278",
        "dicomdirtests/98892001/CT5N/3353",
        "dx_image.dcm",
    ]
    assert [len(one.names) for one in real_index.acquisitions] == [1, 1, 1, 1, 1, 5, 1]
    assert {one.item for one in real_index.sidecars} >= {
        "SOURCES.md",
        "expected.csv",
        "dicomdirtests/DICOMDIR",
        "dicomdirtests/DICOMDIR-empty.dcm",
    }
    assert found["zipMR.gz"] == "NOT_RECOGNISED"
    assert found["no_meta.dcm"] == "NOT_DICOM"
    assert found["reportsi.dcm"] == found["rtplan_truncated.dcm"] == "NO_PIXELS"
    assert found["seg_image_cr_binary.dcm"] == found["parametric_map_float.dcm"] == "DERIVED_OBJECT"
    assert found["examples_ybr_color.dcm"] == "UNSUPPORTED_MODALITY"
    assert found["CT1_RLE"] == "TOO_FEW_SLICES"


def test_of_seven_real_files_with_one_uid_the_first_whole_one_is_kept(real_index: ArchiveIndex) -> None:
    found = codes(real_index)
    copies = {name: code for name, code in found.items() if name.startswith("MR_")}

    assert copies.pop("MR_truncated.dcm") == "TRUNCATED"
    assert copies.pop("MR_small_RLE.dcm") == "TOO_FEW_SLICES"
    assert len(copies) == 5
    assert set(copies.values()) == {"DUPLICATE"}


@pytest.fixture(scope="session")
def expected(shared_data: Path) -> list[dict[str, str]]:
    """Rows of expected.csv: what each real file holds."""
    import csv

    with (shared_data / "dicom" / "expected.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def real_index(shared_data: Path) -> ArchiveIndex:
    """Index of the real DICOM files."""
    return index_archive(shared_data / "dicom", workers=2)


def test_a_dataset_with_an_unforeseen_error_is_refused_by_type_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(dataset: Dataset) -> object:
        raise RuntimeError("Canary^Yellow")

    write_radiograph(tmp_path / "a.dcm")
    monkeypatch.setattr("ingest.dicom.index.read_projection", fail)

    (refusal,) = index_archive(tmp_path, workers=0).refusals

    assert refusal.code == "UNREADABLE"
    assert "Canary" not in refusal.reason


@pytest.mark.parametrize("limit", ["ingest.index._HEADER_SECONDS", "ingest.verify.seconds"])
def test_a_file_that_takes_too_long_is_told_so_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    slow = a_radiograph(np.arange(4000 * 4000, dtype=np.uint16).reshape(4000, 4000))
    block = slow.private_block(0x4321, "INTERVAL", create=True)
    block.add_new(1, "SQ", [Dataset() for _ in range(100_000)])
    block[1].is_undefined_length = True
    write_radiograph(tmp_path / "a.dcm", slow)
    catalogue = MemoryCatalogue()
    with monkeypatch.context() as patched:
        # Either takes many times as long: the header has 100,000 items, and the pixels have 32 MB.
        patched.setattr(limit, 1e-3 if "SECONDS" in limit else lambda record: 1e-3)
        assert codes(index_archive(tmp_path, workers=1, catalogue=catalogue)) == {"a.dcm": "TIMED_OUT"}

    index = index_archive(tmp_path, workers=1, catalogue=catalogue)

    assert [one.name for one in index.acquisitions] == ["a.dcm"]
    assert not index.refusals


def test_how_long_a_mosaic_may_take_follows_from_what_it_shows() -> None:
    grid = {"affine": [1, 0, 0, 0, 1, 0], "height": 20_000, "width": 20_000, "frame": ""}
    mosaic = Record(
        name="a.vrt",
        stamp=Stamp(size=900, mtime_ns=0, inode=0),
        read_at_ns=0,
        status=IMAGE,
        domain=SATELLITE,
        header_json=json.dumps({"single": {"grid": grid}}),
    )

    assert verify.seconds(mosaic) > 3600
    assert verify.seconds(dataclasses.replace(mosaic, domain=RADIOLOGY)) < 61


def in_colour(photometric: str, samples: int) -> Dataset:
    """A radiograph of 8 by 6 pixels with several samples each."""
    made = a_radiograph(np.arange(48 * samples, dtype=np.uint8).reshape(6, 8 * samples))
    made.PhotometricInterpretation, made.SamplesPerPixel, made.PlanarConfiguration = photometric, samples, 0
    made.Columns = 8
    return made


def test_a_radiograph_in_colour_is_one_by_its_brightness(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "rgb.dcm", in_colour("RGB", 3))
    write_radiograph(tmp_path / "cmyk.dcm", in_colour("CMYK", 4))

    assert codes(index_archive(tmp_path, workers=0, pixels=False)) == {"cmyk.dcm": "UNSUPPORTED_IMAGE"}
    (found,) = index_archive(tmp_path, workers=0).acquisitions
    assert found.name == "rgb.dcm"
    assert "only its brightness" in found.attributes["warnings"]
    red, green, blue = (np.arange(144).reshape(6, 8, 3)[..., one] for one in range(3))
    shown = read_radiograph(found).values[0]
    assert shown == pytest.approx((0.299 * red + 0.587 * green + 0.114 * blue) / 255, abs=1e-6)
