"""Zip files are read where they are, and nothing in one can do harm."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ingest import bundle
from ingest.bundle import ZipUnreadable, open_file, read_bytes
from ingest.dicom.pixels import read_radiograph
from ingest.index import ArchiveIndex, index_archive
from tests.ingest.radiograph_files import a_radiograph, write_radiograph


def codes(index: ArchiveIndex) -> dict[str, str]:
    return {one.item: one.code for one in index.refusals}


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def a_file(folder: Path, **tags: object) -> bytes:
    return write_radiograph(folder.parent / "aside.dcm", a_radiograph(**tags)).read_bytes()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_real_files_in_a_zip_file_end_as_they_do_in_a_folder(archive: Path, shared_data: Path, method: int) -> None:
    source = shared_data / "dicom" / "dicomdirtests"
    contents = {str(one.relative_to(source)): one.read_bytes() for one in source.rglob("*") if one.is_file()}
    zip_of(archive / "disc.ZIP", contents, method)

    packed, plain = index_archive(archive, workers=0), index_archive(source, workers=0)

    assert {name.removeprefix("disc.ZIP!/"): code for name, code in codes(packed).items()} == codes(plain)
    assert [(one.id, one.sha256, one.pixel_sha256) for one in packed.acquisitions] == [
        (one.id, one.sha256, one.pixel_sha256) for one in plain.acquisitions
    ]
    assert packed.files_seen == plain.files_seen + 1
    assert packed.files_used + len(packed.refusals) + len(packed.sidecars) == packed.files_seen
    assert [one.name for one in archive.iterdir()] == ["disc.ZIP"]


def test_the_picture_of_a_member_is_that_of_the_file(archive: Path) -> None:
    content = a_file(archive)
    (archive / "plain.dcm").write_bytes(content)
    zip_of(archive / "a.zip", {"1/image.dcm": a_file(archive, SOPInstanceUID="1.2.9")})
    member, plain = index_archive(archive, workers=0).acquisitions

    assert member.name == "a.zip!/1/image.dcm"
    np.testing.assert_array_equal(read_radiograph(member).values, read_radiograph(plain).values)


def test_names_that_lead_elsewhere_or_cannot_be_printed_are_harmless(archive: Path) -> None:
    names = ["../../escape.dcm", "/etc/absolute.dcm", "a\\..\\back.dcm", "new\nline.dcm", "./here.dcm"]
    contents = {name: a_file(archive, SOPInstanceUID=f"1.2.{at}") for at, name in enumerate(names)}
    zip_of(archive / "a.zip", contents)
    before = sorted(archive.parent.rglob("*"))

    index = index_archive(archive, workers=0)

    assert [one.name for one in index.acquisitions] == [
        "a.zip!/a/back.dcm",
        "a.zip!/escape.dcm",
        "a.zip!/etc/absolute.dcm",
        "a.zip!/here.dcm",
        "a.zip!/new\\x0aline.dcm",
    ]
    assert sorted(archive.parent.rglob("*")) == before


def test_two_members_of_one_name_are_refused_rather_than_mixed_up(archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(archive / "a.zip", "w") as file:
        file.writestr("image.dcm", a_file(archive))
        file.writestr("image.dcm", a_file(archive, SOPInstanceUID="1.2.9"))

    assert codes(index_archive(archive, workers=0)) == {"a.zip!/image.dcm": "ZIP_AMBIGUOUS"}


def test_zip_files_in_zip_files_are_not_opened(archive: Path) -> None:
    inner = zip_of(archive.parent / "inner.zip", {"image.dcm": a_file(archive)}).read_bytes()
    zip_of(archive / "a.zip", {"inner.zip": inner})

    assert codes(index_archive(archive, workers=0)) == {"a.zip!/inner.zip": "ZIP_NESTED"}


def test_an_encrypted_member_is_refused_and_the_others_are_read(archive: Path) -> None:
    path = zip_of(archive / "a.zip", {"locked.dcm": a_file(archive), "open.dcm": a_file(archive, PatientID="2")})
    content = bytearray(path.read_bytes())
    # The flag of encryption, in the local header and in the directory of the first member.
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)

    index = index_archive(archive, workers=0)

    assert codes(index) == {"a.zip!/locked.dcm": "ZIP_ENCRYPTED"}
    assert [one.name for one in index.acquisitions] == ["a.zip!/open.dcm"]


def test_a_member_that_unpacks_to_far_more_than_an_image_does_is_not_unpacked(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Made smaller so that the test is quick; the ratio is the real one.
    monkeypatch.setattr(bundle, "_SMALL", 1000)
    zip_of(archive / "a.zip", {"bomb.dcm": bytes(3_000_000), "image.dcm": a_file(archive)})
    monkeypatch.setattr(bundle, "MAX_RATIO", 900)

    whole = index_archive(archive, workers=0)
    monkeypatch.setattr(bundle, "MAX_RATIO", 500)
    bundle._opened.cache_clear()
    refused = index_archive(archive, workers=0)

    assert codes(whole) == {"a.zip!/bomb.dcm": "ZIP_TOO_LARGE"}
    assert [one.name for one in whole.acquisitions] == ["a.zip!/image.dcm"]
    assert codes(refused) == {"a.zip": "ZIP_TOO_LARGE"}


def test_a_directory_that_promises_more_than_there_is_is_not_believed(archive: Path) -> None:
    """Overlapping members: many entries of a directory that all point to the same packed bytes."""
    packed = zip_of(archive.parent / "one.zip", {"x.dcm": bytes(100_000)}).read_bytes()
    start = packed.index(b"PK\1\2")
    end = packed.index(b"PK\5\6")
    entry = packed[start:end]
    count = 20_000
    entries = b"".join(
        entry[:28] + struct.pack("<H", 9) + entry[30:46] + b"%05d.dcm" % at + entry[46 + 5 :] for at in range(count)
    )
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entries), start, 0)
    (archive / "a.zip").write_bytes(packed[:start] + entries + tail)
    assert zipfile.is_zipfile(archive / "a.zip")

    assert codes(index_archive(archive, workers=0)) == {"a.zip": "ZIP_TOO_LARGE"}


def test_too_many_members_are_refused_at_once(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zip_of(archive / "a.zip", {f"{number}.txt": b"x" for number in range(12)})
    monkeypatch.setattr(bundle, "MAX_MEMBERS", 11)

    assert codes(index_archive(archive, workers=0)) == {"a.zip": "ZIP_TOO_LARGE"}


def test_a_damaged_member_is_refused_and_named(archive: Path) -> None:
    rng = np.random.default_rng(1)
    noise = a_radiograph(rng.integers(0, 4096, (64, 64), dtype=np.uint16))
    content = write_radiograph(archive.parent / "aside.dcm", noise).read_bytes()
    path = zip_of(archive / "a.zip", {"image.dcm": content, "other.dcm": a_file(archive, PatientID="2")})
    damaged = bytearray(path.read_bytes())
    damaged[4000:4020] = b"\xff" * 20
    path.write_bytes(damaged)

    index = index_archive(archive, workers=0)

    assert codes(index) == {"a.zip!/image.dcm": "ZIP_UNREADABLE"}
    assert [one.name for one in index.acquisitions] == ["a.zip!/other.dcm"]
    with pytest.raises(ZipUnreadable):
        read_bytes(path.with_name("a.zip!") / "image.dcm")


def test_a_member_that_is_gone_is_said_to_be(archive: Path) -> None:
    path = zip_of(archive / "a.zip", {"image.dcm": b"x"})
    with open_file(Path(f"{path}!/image.dcm")) as file:
        assert file.read() == b"x"

    zip_of(path, {"another.dcm": b"yy"})

    with pytest.raises(ZipUnreadable, match="not in its zip file any more"):
        read_bytes(Path(f"{path}!/image.dcm"))


def test_a_raster_in_a_zip_file_is_refused_with_what_to_do(archive: Path) -> None:
    zip_of(archive / "a.zip", {"scene.tif": b"II*\0" + bytes(100), "notes.txt": b"hello"})

    index = index_archive(archive, workers=0)

    assert codes(index) == {"a.zip!/scene.tif": "NOT_RECOGNISED"}
    assert [one.item for one in index.sidecars] == ["a.zip", "a.zip!/notes.txt"]


def test_something_called_zip_that_is_none_is_refused(archive: Path) -> None:
    (archive / "a.zip").write_bytes(b"PK\3\4" + bytes(50))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("x", b"x")
    (archive / "b.zip").write_bytes(content.getvalue()[:-10])

    assert codes(index_archive(archive, workers=0)) == {"a.zip": "ZIP_UNREADABLE", "b.zip": "ZIP_UNREADABLE"}
