"""The index in a database reads what is new or changed and nothing else, and ends as one that read everything."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from ingest import index as indexing
from ingest.catalogue import Names
from ingest.index import ArchiveIndex, index_archive
from ingest.record import Record
from ingest.unreadable import pair_readable
from services.catalogue import DatabaseCatalogue
from services.database import Database
from services.tables import File
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

#: Long before any file system's clock could tick again.
SETTLED_NS = 10**18


def settle(root: Path) -> None:
    """Makes every file of a folder look as if it had changed long ago."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(SETTLED_NS, SETTLED_NS))


def picture(number: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint16]]":
    return np.full((6, 8), number, dtype=np.uint16)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two studies of one patient, one of another, junk, a note and a truncated image."""
    root = tmp_path / "archive"
    for number, (patient, date) in enumerate([("1", "20200101"), ("1", "20210101"), ("2", "20200101")]):
        made = a_radiograph(picture(number), PatientID=patient, StudyDate=date, SOPInstanceUID=f"1.2.{number}")
        write_radiograph(root / patient / f"{number}.dcm", made)
    cut = write_radiograph(root / "cut.dcm", a_radiograph(picture(9), PatientID="3")).read_bytes()[:-20]
    (root / "cut.dcm").write_bytes(cut)
    (root / "junk.dcm").write_bytes(b"junk" * 100)
    (root / "notes.txt").write_text("three patients", encoding="utf-8")
    settle(root)
    return root


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, header or pixels, from here on."""
    names: list[str] = []
    recognise, verify = indexing.recognise, indexing.verify.verify

    def spy_recognise(found: object, **rest: object) -> object:
        names.append(found.name)  # type: ignore[attr-defined]
        return recognise(found, **rest)  # type: ignore[arg-type]

    def spy_verify(record: Record, **rest: Path) -> Record:
        names.append(f"{record.name} pixels")
        return verify(record, **rest)

    monkeypatch.setattr(indexing, "recognise", spy_recognise)
    monkeypatch.setattr(indexing.verify, "verify", spy_verify)
    return names


@pytest.fixture
def index(archive: Path, database: Database) -> Callable[..., ArchiveIndex]:
    """Function that indexes the archive into the database."""

    def run(**options: object) -> ArchiveIndex:
        catalogue = DatabaseCatalogue(database, "key")
        return index_archive(archive, catalogue=catalogue, workers=0, **options)  # type: ignore[arg-type]

    return run


def codes(found: ArchiveIndex) -> dict[str, str]:
    return {one.item: one.code for one in found.refusals}


def test_an_index_in_a_database_is_the_one_in_memory(index: Callable[..., ArchiveIndex], archive: Path) -> None:
    assert index() == index_archive(archive, workers=0)
    assert index() == index_archive(archive, workers=2)
    assert index(domain="satellite") == index_archive(archive, workers=0, domain="satellite")
    assert index() == index_archive(archive, workers=0)


def test_a_second_index_reads_nothing(index: Callable[..., ArchiveIndex], read_files: list[str]) -> None:
    first = index()
    assert len(read_files) == 6 + 3
    read_files.clear()

    assert index() == first
    assert read_files == []


def test_pixels_are_read_once_and_only_when_they_are_asked_for(
    index: Callable[..., ArchiveIndex], read_files: list[str]
) -> None:
    headers = index(pixels=False)
    assert len(read_files) == 6
    assert {one.sha256 for one in headers.acquisitions} == {""}
    assert codes(headers) == {"cut.dcm": "TRUNCATED", "junk.dcm": "NOT_DICOM"}
    read_files.clear()

    whole = index()
    again = index(pixels=False)

    assert sorted(read_files) == ["1/0.dcm pixels", "1/1.dcm pixels", "2/2.dcm pixels"]
    assert whole == again
    assert all(one.pixel_sha256 for one in whole.acquisitions)


def test_only_what_changed_is_read_and_what_is_gone_is_forgotten(
    index: Callable[..., ArchiveIndex], archive: Path, read_files: list[str]
) -> None:
    index()
    read_files.clear()
    (archive / "2" / "2.dcm").unlink()
    # The cut file is sent again, whole; another one is replaced; a third is new.
    write_radiograph(archive / "cut.dcm", a_radiograph(picture(9), PatientID="3"))
    write_radiograph(archive / "1" / "1.dcm", a_radiograph(picture(5), PatientID="1", StudyDate="20220101"))
    write_radiograph(archive / "new" / "3.dcm", a_radiograph(picture(6), PatientID="4"))
    settle(archive)

    found = index()

    assert sorted(read_files) == sorted(
        name + kind for name in ("1/1.dcm", "cut.dcm", "new/3.dcm") for kind in ("", " pixels")
    )
    assert found == index_archive(archive, workers=0)
    assert [one.name for one in found.acquisitions] == ["1/0.dcm", "1/1.dcm", "cut.dcm", "new/3.dcm"]
    assert codes(found) == {"junk.dcm": "NOT_DICOM"}


def test_a_file_that_another_takes_the_place_of_is_noticed_though_size_and_time_are_the_same(
    index: Callable[..., ArchiveIndex], archive: Path, read_files: list[str]
) -> None:
    index()
    read_files.clear()
    other = write_radiograph(
        archive.parent / "other.dcm",
        a_radiograph(picture(7), PatientID="2", StudyDate="20200101", SOPInstanceUID="1.2.2"),
    )
    assert other.stat().st_size == (archive / "2" / "2.dcm").stat().st_size
    os.utime(other, ns=(SETTLED_NS, SETTLED_NS))
    other.replace(archive / "2" / "2.dcm")

    index()

    assert read_files == ["2/2.dcm", "2/2.dcm pixels"]


def test_a_file_that_changed_a_moment_before_it_was_read_is_read_again(
    index: Callable[..., ArchiveIndex], archive: Path, read_files: list[str]
) -> None:
    path = archive / "2" / "2.dcm"
    os.utime(path)
    index()
    state = path.stat()
    read_files.clear()
    # The same size, place and, as clocks of file systems tick slowly, time.
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content.replace(b"20200101", b"20190101"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    found = index()

    assert read_files == ["2/2.dcm", "2/2.dcm pixels"]
    assert found == index_archive(archive, workers=0)
    assert [one.time.year for one in found.acquisitions if one.time] == [2020, 2021, 2019]


def test_a_file_that_changes_between_its_header_and_its_pixels_is_not_mixed_up(
    archive: Path, database: Database
) -> None:
    catalogue = DatabaseCatalogue(database, "key")
    index_archive(archive, catalogue=catalogue, workers=0, pixels=False)
    [record] = [one for one in catalogue.unverified() if one.name == "2/2.dcm"]
    write_radiograph(archive / "2" / "2.dcm", a_radiograph(picture(8), PatientID="9"))

    verified = indexing.verify.verify(record, root=archive)
    found = index_archive(archive, catalogue=catalogue, workers=0)

    assert verified.pixel_code == "FILE_CHANGING"
    assert found == index_archive(archive, workers=0)


def test_an_index_that_was_interrupted_is_taken_up(
    archive: Path, database: Database, read_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(DatabaseCatalogue):
        kept = 0

        def keep(self, records: object) -> None:
            super().keep(records)  # type: ignore[arg-type]
            Interrupted.kept += 1
            if Interrupted.kept == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(indexing, "batches", lambda items, size=2: ([one] for one in items))
    monkeypatch.setattr(indexing, "_KEPT", 1)
    with pytest.raises(KeyboardInterrupt):
        index_archive(archive, catalogue=Interrupted(database, "key"), workers=0)
    done = set(read_files[:2])
    read_files.clear()

    found = index_archive(archive, catalogue=DatabaseCatalogue(database, "key"), workers=0)

    assert found == index_archive(archive, workers=0)
    assert not done & set(read_files[:4])


def test_archives_in_one_database_do_not_know_of_each_other(archive: Path, database: Database, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "second")
    (tmp_path / "second" / "junk.dcm").unlink()
    one, two = DatabaseCatalogue(database, "one"), DatabaseCatalogue(database, "two")

    index_archive(archive, catalogue=one, workers=0)
    second = index_archive(tmp_path / "second", catalogue=two, workers=0)

    assert second.files_seen == 5
    assert sum(1 for _ in one.records()) == 6


def test_files_of_the_other_domain_are_read_once_they_are_asked_for(
    index: Callable[..., ArchiveIndex], archive: Path, read_files: list[str]
) -> None:
    scenes = index(domain="satellite")
    whole = index()

    assert {one.item for one in scenes.sidecars} >= {"1/0.dcm", "cut.dcm"}
    assert whole == index_archive(archive, workers=0)
    read_files.clear()
    assert index(domain="satellite").acquisitions == ()
    assert read_files == []


def test_a_duplicate_takes_the_place_of_the_file_that_is_gone(
    index: Callable[..., ArchiveIndex], archive: Path, read_files: list[str]
) -> None:
    shutil.copy2(archive / "2" / "2.dcm", archive / "2" / "copy.dcm")
    first = index(pixels=False)
    assert codes(first)["2/copy.dcm"] == "DUPLICATE"
    # Equal bytes are told by their hash alone.
    assert not [name for name in read_files if name.endswith("pixels")]

    (archive / "2" / "2.dcm").unlink()
    second = index(pixels=False)

    assert "2/copy.dcm" not in codes(second)
    assert [one.name for one in second.acquisitions] == ["1/0.dcm", "1/1.dcm", "2/copy.dcm"]


def test_one_uid_for_two_pictures_is_told_without_decoding_anything_else(
    index: Callable[..., ArchiveIndex], archive: Path, read_files: list[str]
) -> None:
    write_radiograph(archive / "2" / "other.dcm", a_radiograph(picture(8), PatientID="2", SOPInstanceUID="1.2.2"))
    settle(archive)

    found = index(pixels=False)

    assert codes(found)["2/other.dcm"] == "UID_CONFLICT"
    assert sorted(name for name in read_files if "pixels" in name) == ["2/2.dcm pixels", "2/other.dcm pixels"]


def test_a_scene_is_read_again_when_what_lies_beside_it_changes(
    scene_archive: Path, database: Database, tmp_path: Path, read_files: list[str]
) -> None:
    root = tmp_path / "scenes"
    shutil.copytree(scene_archive, root)
    settle(root)
    catalogue = DatabaseCatalogue(database, "key")
    first = index_archive(root, catalogue=catalogue, workers=0)
    read_files.clear()
    assert index_archive(root, catalogue=catalogue, workers=0) == first
    assert read_files == []

    scene = first.acquisitions[0]
    scene.path.with_suffix(".tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    settle(root)
    second = index_archive(root, catalogue=catalogue, workers=0)

    assert sorted(read_files) == sorted([scene.name, f"{scene.name}.aux.xml", f"{scene.name} pixels"])
    assert second.acquisitions == first.acquisitions


def test_a_file_that_a_dicomdir_lists_and_that_is_gone_is_missing(
    database: Database, shared_data: Path, tmp_path: Path
) -> None:
    root = tmp_path / "disc"
    shutil.copytree(shared_data / "dicom" / "dicomdirtests", root)
    catalogue = DatabaseCatalogue(database, "key")
    assert "MISSING_FILE" not in codes(index_archive(root, catalogue=catalogue, workers=0)).values()
    (root / "77654033" / "CR1" / "6154").unlink()
    found = index_archive(root, catalogue=catalogue, workers=0)

    missing = [one for one, code in codes(found).items() if code == "MISSING_FILE"]
    assert missing == ["77654033/CR1/6154"]
    assert found.files_used + len(found.refusals) + len(found.sidecars) == found.files_seen


@pytest.mark.parametrize("broken", ["1.dcm", "0.dcm"])
def test_a_prior_that_cannot_be_read_is_passed_over_or_named(tmp_path: Path, broken: str) -> None:
    root = tmp_path / "archive"
    for number in range(3):
        made = a_radiograph(picture(number), StudyDate=f"202{number}0101", SOPInstanceUID=f"1.2.{number}")
        write_radiograph(root / f"{number}.dcm", made)
    content = (root / broken).read_bytes()
    (root / broken).write_bytes(content[:-20])

    found = index_archive(root, workers=0)
    pairing = pair_readable(found.acquisitions, found.unreadable)

    told = {one.item: one.code for one in pairing.unpaired}
    chosen = {pair.current.name: pair.prior.name for pair in pairing.pairs}
    if broken == "1.dcm":
        assert chosen == {"2.dcm": "0.dcm"}
        assert told == {"1.2.0": "NO_PRIOR"}
    else:
        assert chosen == {"2.dcm": "1.dcm"}
        assert told == {"1.2.1": "PRIOR_UNREADABLE"}


def test_what_failed_to_decode_is_tried_again_with_other_decoders_only(
    index: Callable[..., ArchiveIndex], archive: Path, database: Database, read_files: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    catalogue = DatabaseCatalogue(database, "key")
    index()
    [record] = [one for one in catalogue.records() if one.name == "2/2.dcm"]
    failed = replace(record, verified_with="failed: x", pixel_code="UNDECODABLE", pixel_reason="No decoder.")
    catalogue.keep([failed])
    for module in ("ingest.verify", "ingest.catalogue", "services.catalogue"):
        monkeypatch.setattr(f"{module}.decoders", lambda: "x")
    read_files.clear()
    assert codes(index())["2/2.dcm"] == "UNDECODABLE"
    assert read_files == []

    for module in ("ingest.verify", "ingest.catalogue", "services.catalogue"):
        monkeypatch.setattr(f"{module}.decoders", lambda: "y")

    assert "2/2.dcm" not in codes(index())
    assert read_files == ["2/2.dcm pixels"]


def test_the_archive_of_real_files_gives_the_same_in_memory_and_in_a_database(
    shared_data: Path, database: Database
) -> None:
    catalogue = DatabaseCatalogue(database, "key")

    first = index_archive(shared_data / "dicom", catalogue=catalogue, workers=2, pixels=False)
    second = index_archive(shared_data / "dicom", catalogue=catalogue, workers=2)

    assert second == index_archive(shared_data / "dicom", workers=0)
    assert first.files_seen == second.files_seen
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(File)) == 89


def test_names_are_found_however_many_there_are() -> None:
    names = Names()
    names.add(*(f"{number}.dcm" for number in range(0, 1000, 2)))

    assert [f"{number}.dcm" in names for number in range(1000)] == [number % 2 == 0 for number in range(1000)]
    assert len(names) == 500
