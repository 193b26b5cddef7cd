"""The quick reading of headers gives what pydicom gives, or leaves the file to pydicom."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ingest.dicom.header import counted_warnings, text, texts, value
from ingest.dicom.index import read_head
from ingest.dicom.scan import Short, Unexpected, scan
from tests.ingest.radiograph_files import a_radiograph


def written(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True, overwrite=True)
    return file.getvalue()


def by_pydicom(content: bytes) -> Dataset:
    dataset = dcmread(io.BytesIO(content), stop_before_pixels=True)
    for _ in dataset.iterall():
        pass
    return dataset


def same(found: Dataset, expected: Dataset) -> bool:
    """True if all public elements are the same; private ones, which the index never asks for, are left out."""
    for element in [one for one in expected if one.tag.is_private]:
        del expected[element.tag]
    return list(found.keys()) == list(expected.keys()) and Dataset(found) == Dataset(expected)


def test_the_headers_of_all_real_files_are_those_of_pydicom(shared_data: Path) -> None:
    compared = 0
    for path in sorted((shared_data / "dicom").rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        try:
            scanned = scan(content, is_whole=True)
        except (Short, Unexpected):
            continue
        with counted_warnings():
            expected = by_pydicom(content)
            assert same(scanned.dataset, expected), path.name
        assert str(scanned.dataset.file_meta.TransferSyntaxUID) == str(expected.file_meta.TransferSyntaxUID)
        compared += 1
    # 87 files, of which 15 are text, directories of file sets, without meta header or in rare encodings.
    assert compared >= 70


def test_the_pixels_are_where_pydicom_finds_them(shared_data: Path) -> None:
    content = (shared_data / "dicom" / "CT_small.dcm").read_bytes()

    pixels = scan(content, is_whole=True).pixels

    assert pixels is not None and pixels.length is not None
    whole = dcmread(io.BytesIO(content))
    assert content[pixels.start : pixels.start + pixels.length] == whole.PixelData


nested = st.recursive(
    st.builds(dict, CodeValue=st.sampled_from(["1", "T-D3000", ""]), CodeMeaning=st.text("äbc", max_size=5)),
    lambda inner: st.builds(dict, ContentSequence=st.lists(inner, max_size=3), CodeValue=st.just("x")),
    max_leaves=6,
)


def a_dataset(tree: dict[str, object], *, undefined: bool) -> Dataset:
    made = Dataset()
    for keyword, content in tree.items():
        if isinstance(content, list):
            sequence = Sequence([a_dataset(item, undefined=undefined) for item in content])
            for item in sequence:
                item.is_undefined_length_sequence_item = undefined
            made.add_new(keyword, "SQ", sequence)
            made[keyword].is_undefined_length = undefined
        else:
            setattr(made, keyword, content)
    return made


@settings(deadline=None, max_examples=60)
@given(
    tree=nested,
    undefined=st.booleans(),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    charset=st.sampled_from([None, "ISO_IR 100", "ISO_IR 192"]),
)
def test_sequences_of_every_shape_are_those_of_pydicom(
    tree: dict[str, object], undefined: bool, syntax: UID, charset: str | None
) -> None:
    made = a_radiograph(SOPInstanceUID="1.2.3", StudyInstanceUID="1.2.4")
    if charset:
        made.SpecificCharacterSet = charset
        made.PatientName = "Müller^Zoë"
    else:
        tree = {"CodeValue": "1"}
    made.update(a_dataset({"ProcedureCodeSequence": [tree]}, undefined=undefined))
    content = written(made, syntax)

    found = scan(content, is_whole=True).dataset

    assert same(found, by_pydicom(content))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_header_that_is_cut_anywhere_asks_for_more(syntax: UID) -> None:
    made = a_radiograph(SOPInstanceUID="1.2.3", StudyInstanceUID="1.2.4")
    made.update(a_dataset({"ProcedureCodeSequence": [{"CodeValue": "1"}, {"CodeValue": "2"}]}, undefined=True))
    content = written(made, syntax)
    pixels = scan(content, is_whole=True).pixels
    assert pixels is not None
    # The pixel data's own tag, representation and length are part of what must be there.
    head = 12 if syntax == ExplicitVRLittleEndian else 8

    for length in range(132, pixels.start - head):
        with pytest.raises(Short):
            scan(content[:length], is_whole=False)


def test_another_encoding_is_left_to_pydicom_and_read_all_the_same() -> None:
    content = written(a_radiograph(SOPInstanceUID="1.2.3", StudyInstanceUID="1.2.4"), ExplicitVRBigEndian)
    with pytest.raises(Unexpected):
        scan(content, is_whole=True)

    scanned = read_head(io.BytesIO(content), len(content))

    assert text(scanned.dataset, "SOPInstanceUID") == "1.2.3"
    assert scanned.pixels is not None and scanned.pixels.length == 96


def test_a_header_longer_than_the_first_read_is_read_to_its_end() -> None:
    made = a_radiograph(SOPInstanceUID="1.2.3", StudyInstanceUID="1.2.4", ImageComments="x" * 10_000)
    made.add_new(0x00091001, "OB", bytes(300_000))
    content = written(made)

    scanned = read_head(io.BytesIO(content), len(content))

    assert text(scanned.dataset, "PatientID") == "00417"
    assert scanned.pixels is not None and scanned.pixels.start + 96 == len(content)


#: What a value may look like in a file, as bytes; text() and texts() must say of it what pydicom says.
@settings(deadline=None, max_examples=150)
@given(
    keyword=st.sampled_from(["PatientID", "ImageType", "StudyDate", "StudyTime", "SOPInstanceUID", "PatientName"]),
    parts=st.lists(st.text("AB 12.^=é", max_size=6), min_size=1, max_size=3),
    pad=st.sampled_from(["", " ", "\0"]),
)
def test_text_found_the_quick_way_is_that_of_pydicom(keyword: str, parts: list[str], pad: str) -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import BaseTag

    content = ("\\".join(parts) + pad).encode("latin-1")
    tag = BaseTag(tag_for_keyword(keyword) or 0)

    def raw() -> Dataset:
        made = Dataset({tag: RawDataElement(tag, dictionary_VR(tag), len(content), content, 0, False, True)})
        made.set_original_encoding(False, True, ["latin-1"])
        return made

    with counted_warnings():
        converted = raw()
        element = converted[tag]

        # pydicom drops the signs between empty parts of a name, which are compared nowhere.
        if keyword != "PatientName":
            assert text(raw(), keyword) == text(converted, keyword)
            assert texts(raw(), keyword) == texts(converted, keyword)
            assert (value(raw(), keyword) is None) == (element.value in (None, ""))


def test_numbers_of_two_bytes_are_read_in_the_order_of_the_file(shared_data: Path) -> None:
    sizes = []
    for name in ("MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm"):
        content = (shared_data / "dicom" / name).read_bytes()
        dataset = read_head(io.BytesIO(content), len(content)).dataset
        sizes.append([text(dataset, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")])

    assert sizes == [["64", "64", "16"]] * 3
