import csv
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from ingest.dicom.complaints import CorruptStream, complaints_raised
from ingest.dicom.decode import digest_pixels, stored_frames, stored_values
from ingest.dicom.errors import TooLarge, Truncated, Undecodable
from ingest.dicom.header import counted_warnings, read_header
from ingest.errors import IngestError
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

#: The one file of expected.csv that no decoder of our requirements reads: JPEG of 12 bits, and the module that does.
#: It is under the GPL and comes with the extra `gpl`, so without it the file is refused, and that is tested.
NEEDS = {"JPGExtended.dcm": "libjpeg"}
#: Lossy codings, of which two decoders may differ by a grey level.
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.81"}


def test_real_files_give_the_expected_stored_values(shared_data: Path) -> None:
    with (shared_data / "dicom" / "expected.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["pixels"][:1].isdigit()]
    compared = 0

    for row in rows:
        needs = NEEDS.get(row["file"])
        if needs is not None and importlib.util.find_spec(needs) is None:
            continue
        with counted_warnings():
            values, _ = stored_values(read_header((shared_data / "dicom" / row["file"]).read_bytes()))
        step = 1.0 if row["transfer_syntax"] in LOSSY else 0.0
        assert f"{'x'.join(map(str, values.shape))} {values.dtype}" == row["pixels"], row["file"]
        assert values.min() == pytest.approx(float(row["min"]), abs=step), row["file"]
        assert values.max() == pytest.approx(float(row["max"]), abs=step), row["file"]
        # The mean is written with three decimals.
        assert values.mean() == pytest.approx(float(row["mean"]), abs=6e-4 + step / 2), row["file"]
        compared += 1

    assert compared >= len(rows) - len(NEEDS)


#: What becomes of the files of expected.csv that give no pixels, where it is not "no pixels at all".
REFUSED = {
    "zipMR.gz": "NOT_DICOM",
    "no_meta.dcm": "NOT_DICOM",
    # Without preamble and without a patient: nothing tells it from other bytes.
    "ExplVR_LitEndNoMeta.dcm": "NOT_DICOM",
    "no_meta_group_length.dcm": "NO_PIXELS",
    "empty_charset_LEI.dcm": "NO_PIXELS",
    "MR_truncated.dcm": "TRUNCATED",
    "badVR.dcm": "UNDECODABLE",
    "JPEG-lossy.dcm": "UNDECODABLE",
    "JPEG2000-embedded-sequence-delimiter.dcm": "UNDECODABLE",
    "nested_priv_SQ.dcm": "UNDECODABLE",
    "meta_missing_tsyntax.dcm": "UNDECODABLE",
}


def test_real_files_without_pixels_are_refused_with_the_right_code(shared_data: Path) -> None:
    with (shared_data / "dicom" / "expected.csv").open(encoding="utf-8", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if not row["pixels"][:1].isdigit()]
    found = {}

    for name in names:
        with pytest.raises(IngestError) as refused, counted_warnings():
            stored_values(read_header((shared_data / "dicom" / name).read_bytes()))
        found[name] = refused.value.code

    assert found == {name: REFUSED.get(name, "NO_PIXELS") for name in names}


@pytest.mark.skipif(importlib.util.find_spec("libjpeg") is not None, reason="the extra `gpl` is installed")
def test_twelve_bit_jpeg_is_refused_without_the_gpl_extra(shared_data: Path) -> None:
    with pytest.raises(Undecodable), counted_warnings():
        stored_values(read_header((shared_data / "dicom" / "JPGExtended.dcm").read_bytes()))


def test_four_codings_of_one_slice_have_one_hash(shared_data: Path) -> None:
    digests = set()
    for name in ("CT1_RLE", "CT1_JLSL", "CT1_J2KR", "CT1_JPLL"):
        with counted_warnings():
            digests.add(digest_pixels(read_header((shared_data / "dicom" / name).read_bytes())).sha256)

    assert len(digests) == 1


def test_byte_order_does_not_change_the_hash(shared_data: Path) -> None:
    with counted_warnings():
        little, big = (
            digest_pixels(read_header((shared_data / "dicom" / f"MR_small_{name}.dcm").read_bytes()))
            for name in ("implicit", "bigendian")
        )

    assert little.sha256 == big.sha256


@pytest.mark.parametrize(("syntax", "decoder"), [(RLELossless, ("pylibjpeg",)), (JPEGLSLossless, ("pyjpegls",))])
def test_a_lossless_coding_gives_the_same_values_and_names_its_decoder(
    tmp_path: Path, syntax: str, decoder: tuple[str, ...]
) -> None:
    picture = np.random.default_rng(1).integers(0, 4096, (20, 30), dtype=np.uint16)
    path = write_radiograph(tmp_path / "a.dcm", a_radiograph(picture), syntax=syntax)

    values, name = stored_values(read_header(path.read_bytes()))

    assert np.array_equal(values, picture)
    assert name.startswith(decoder)
    assert name.split()[1][0].isdigit()


def test_other_values_shapes_and_types_have_other_hashes() -> None:
    picture = np.arange(48, dtype=np.uint16).reshape(6, 8)
    pictures = [picture, picture.reshape(8, 6), picture.astype(np.int16), picture + np.uint16(1)]
    hashes = {digest_pixels(with_meta(a_radiograph(one))).sha256 for one in pictures}

    assert len(hashes) == 4


def test_missing_pixels_are_counted() -> None:
    cut = with_meta(a_radiograph())
    cut.PixelData = cut.PixelData[:-6]

    with pytest.raises(Truncated, match="90 of 96 bytes"):
        digest_pixels(cut)


def test_a_damaged_code_stream_is_undecodable_and_says_by_whom(tmp_path: Path) -> None:
    dataset, frame = a_compressed(tmp_path, JPEGLSLossless)
    dataset.PixelData = encapsulate([an_early_end(frame)])

    with pytest.raises(Undecodable, match=r"pyjpegls.*gdcm"), counted_warnings():
        digest_pixels(dataset)


def test_a_transfer_syntax_that_nobody_knows_is_undecodable() -> None:
    strange = with_meta(a_radiograph(), syntax="1.2.840.10008.1.2.4.100")

    with pytest.raises(Undecodable, match="another transfer syntax"):
        digest_pixels(strange)


def with_meta(dataset, syntax: str = "1.2.840.10008.1.2.1"):  # type: ignore[no-untyped-def]
    """The dataset as if it had been read from a file."""
    from pydicom.dataset import FileMetaDataset

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def a_compressed(tmp_path: Path, syntax: str, *, shape: tuple[int, int] = (40, 60)) -> tuple[Dataset, bytes]:
    """A radiograph in this coding, and its one frame."""
    picture = np.random.default_rng(1).integers(0, 4096, shape, dtype=np.uint16)
    path = write_radiograph(tmp_path / "a.dcm", a_radiograph(picture, BitsStored=12, HighBit=11), syntax=UID(syntax))
    dataset = read_header(path.read_bytes())
    return dataset, get_frame(dataset.PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_picture_of_another_shape_than_the_header_says_is_undecodable(tmp_path: Path, syntax: str) -> None:
    dataset, _ = a_compressed(tmp_path, syntax)
    dataset.Rows, dataset.Columns = 60, 40

    with pytest.raises(Undecodable, match="The header says 60 x 40"), counted_warnings():
        digest_pixels(dataset)


def test_a_stream_that_claims_a_huge_picture_never_reaches_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, frame = a_compressed(tmp_path, JPEG2000Lossless)
    # Xsiz and Ysiz of the size segment.
    dataset.PixelData = encapsulate([frame[:8] + (2**30).to_bytes(4, "big") * 2 + frame[16:]])
    monkeypatch.setattr("ingest.dicom.decode.iter_pixels", None)

    with pytest.raises(Undecodable, match="1073741824 x 1073741824"), counted_warnings():
        digest_pixels(dataset)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_stream_is_never_filled_up(tmp_path: Path, syntax: str, share: float) -> None:
    dataset, frame = a_compressed(tmp_path, syntax)
    dataset.PixelData = encapsulate([frame[: int(len(frame) * share)]])

    with pytest.raises((Truncated, Undecodable)), counted_warnings():
        digest_pixels(dataset)


def test_a_jpeg_ls_stream_without_end_never_reaches_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, frame = a_compressed(tmp_path, JPEGLSLossless)
    # Cut here, the decoder takes seconds before it gives up.
    dataset.PixelData = encapsulate([frame[: len(frame) * 9 // 10]])
    monkeypatch.setattr("ingest.dicom.decode.iter_pixels", None)

    with pytest.raises(Truncated), counted_warnings():
        digest_pixels(dataset)


def an_early_end(frame: bytes) -> bytes:
    return frame[: len(frame) // 2] + b"\xff\xd9"


def an_end_in_the_middle(frame: bytes) -> bytes:
    return frame[: len(frame) // 2] + b"\xff\xd9" + frame[len(frame) // 2 :]


def a_hole(frame: bytes) -> bytes:
    quarter = len(frame) // 4
    return frame[: 2 * quarter] + bytes(quarter) + frame[3 * quarter :]


@pytest.mark.parametrize("damaged", [an_early_end, an_end_in_the_middle, a_hole])
@pytest.mark.parametrize("name", ["CT1_JPLL", "JPGLosslessP14SV1_1s_1f_8b.dcm", "bad_sequence.dcm"])
def test_a_real_damaged_lossless_jpeg_is_refused_where_gdcm_alone_fills_it_with_grey(
    shared_data: Path, capfd: pytest.CaptureFixture[str], name: str, damaged: Callable[[bytes], bytes]
) -> None:
    dataset = read_header((shared_data / "dicom" / name).read_bytes())
    dataset.PixelData = encapsulate([damaged(get_frame(dataset.PixelData, 0, number_of_frames=1))])

    with counted_warnings():
        assert next(iter_pixels(dataset, decoding_plugin="gdcm")).shape == (dataset.Rows, dataset.Columns)
    capfd.readouterr()
    with pytest.raises((Truncated, Undecodable)), counted_warnings():
        digest_pixels(dataset)
    assert capfd.readouterr().err == ""


def test_a_real_lossy_jpeg_that_ends_in_the_middle_is_refused(shared_data: Path) -> None:
    dataset = read_header((shared_data / "dicom" / "examples_ybr_color.dcm").read_bytes())
    dataset.NumberOfFrames = "1"
    frame = get_frame(dataset.PixelData, 3, number_of_frames=30)
    dataset.PixelData = encapsulate([an_end_in_the_middle(frame)])

    with pytest.raises(Truncated), counted_warnings():
        digest_pixels(dataset)


def bytes_between_segments(frame: bytes) -> bytes:
    at = frame.index(bytes.fromhex("ffc4"))
    return frame[:at] + bytes((0xDB,)) + frame[at + 1 :]


def an_unknown_colour_transform(frame: bytes) -> bytes:
    at = frame.index(b"Adobe") + 11
    return frame[:at] + b"\x7b" + frame[at + 1 :]


def an_unknown_jfif(frame: bytes) -> bytes:
    return frame[:2] + bytes.fromhex("ffe00010") + b"JFIF\0\x07\x01\0\0\x01\0\x01\0\0" + frame[2:]


@pytest.mark.parametrize("damaged", [bytes_between_segments, an_unknown_colour_transform, an_unknown_jfif])
def test_a_jpeg_stream_on_which_gdcm_ends_the_process_never_reaches_it(
    shared_data: Path, damaged: Callable[[bytes], bytes]
) -> None:
    path = shared_data / "dicom" / "SC_rgb_jpeg_gdcm.dcm"
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([damaged(get_frame(dataset.PixelData, 0, number_of_frames=1))])

    assert gdcm_ends_its_process(dataset.PixelData, path)
    with pytest.raises(Undecodable), counted_warnings():
        digest_pixels(dataset)


def gdcm_ends_its_process(pixels: bytes, path: Path) -> bool:
    """True if a process that gives these pixels to GDCM dies."""
    program = (
        "import sys, pydicom; from pydicom.pixels.utils import iter_pixels\n"
        "found = pydicom.dcmread(sys.argv[1]); found.PixelData = sys.stdin.buffer.read()\n"
        "next(iter_pixels(found, decoding_plugin='gdcm'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], input=pixels, capture_output=True, timeout=60)
    return done.returncode < 0


def test_what_else_is_written_to_stderr_during_decoding_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CorruptStream), complaints_raised():
        os.write(2, b"a line of another thread\nCorrupt JPEG data: premature end of data segment\n")

    assert capfd.readouterr().err == "a line of another thread\n"


def test_a_panic_in_a_decoder_is_a_refusal(shared_data: Path) -> None:
    dataset = read_header((shared_data / "dicom" / "CT1_RLE").read_bytes())
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    # Runs that give more than the picture holds: the decoder's index goes past its end.
    half = len(frame) // 2
    dataset.PixelData = encapsulate([frame[:half] + bytes((0x81,)) * 1000 + frame[half + 1000 :]])

    with pytest.raises(Undecodable, match="pylibjpeg"), counted_warnings():
        digest_pixels(dataset)


def test_frames_come_one_by_one_and_are_those_of_the_whole(shared_data: Path) -> None:
    dataset = read_header((shared_data / "dicom" / "examples_ybr_color.dcm").read_bytes())

    frames = list(stored_frames(dataset))

    whole, decoder = stored_values(dataset)
    assert whole.shape == (30, 240, 320, 3)
    assert np.array_equal(np.stack([frame.values for frame in frames]), whole)
    assert {frame.decoder for frame in frames} == {decoder}


def test_a_frame_that_one_decoder_cannot_read_comes_from_the_next(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_header((shared_data / "dicom" / "examples_ybr_color.dcm").read_bytes())
    whole, _ = stored_values(dataset)

    def failing(found: Dataset, *, indices: object, decoding_plugin: str, **others: Any) -> Iterator[np.ndarray]:
        for at, frame in enumerate(iter_pixels(found, indices=indices, decoding_plugin=decoding_plugin, **others)):
            if decoding_plugin == "pillow" and at == 5:
                raise RuntimeError
            yield frame

    monkeypatch.setattr("ingest.dicom.decode.iter_pixels", failing)
    values, decoder = stored_values(dataset)

    assert [name.split()[0] for name in decoder.split(", ")] == ["pillow", "gdcm"]
    # Two decoders of a lossy coding differ by a level in the brightness, a little more once turned into colours.
    assert np.abs(values.astype(int) - whole).max() <= 4


def test_missing_frames_are_counted(shared_data: Path) -> None:
    dataset = read_header((shared_data / "dicom" / "examples_ybr_color.dcm").read_bytes())
    dataset.NumberOfFrames = "31"

    with pytest.raises((Truncated, Undecodable)), counted_warnings():
        digest_pixels(dataset)


@pytest.mark.parametrize(
    "tags",
    [
        {"Rows": 40_000, "Columns": 2},
        {"Rows": 20_000, "Columns": 20_000},
        {"NumberOfFrames": "70000"},
        {"Rows": 9_000, "Columns": 9_000, "NumberOfFrames": "100"},
    ],
)
def test_what_is_larger_than_any_image_is_refused_before_decoding(tmp_path: Path, tags: dict[str, object]) -> None:
    dataset, _ = a_compressed(tmp_path, JPEG2000Lossless)
    for keyword, recorded in tags.items():
        setattr(dataset, keyword, recorded)

    with pytest.raises(TooLarge):
        digest_pixels(dataset)


def test_a_deflated_bomb_is_refused_without_inflating_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_radiograph(tmp_path / "a.dcm", a_radiograph(np.zeros((2000, 2000), dtype=np.uint16)))
    bomb = dcmread(path)
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb.save_as(path)
    content = path.read_bytes()

    assert read_header(content).Rows == 2000
    assert len(content) < 20_000
    monkeypatch.setattr("ingest.dicom.deflated.MAX_INFLATED", 2**20)
    with pytest.raises(TooLarge):
        read_header(content)


@given(
    bits=st.sampled_from([8, 16, 32]),
    signed=st.booleans(),
    spare=st.integers(0, 5),
    frames=st.integers(1, 3),
    syntax=st.sampled_from([ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]),
    seed=st.integers(0, 100),
)
def test_plain_pixels_are_those_of_pydicom(
    bits: int, signed: bool, spare: int, frames: int, syntax: UID, seed: int
) -> None:
    kind = "i" if signed else "u"
    size = (frames, 3, 4) if frames > 1 else (3, 4)
    picture = np.frombuffer(np.random.default_rng(seed).bytes(12 * frames * bits // 8), f"{kind}{bits // 8}")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    made = with_meta(a_radiograph(picture.reshape(-1, 4), BitsStored=bits - spare, HighBit=bits - spare - 1), syntax)
    made.Rows, made.NumberOfFrames = 3, str(frames)
    made["PixelData"].VR = "OW"
    made.PixelData = picture.astype(picture.dtype.newbyteorder(order)).tobytes()

    values, decoder = stored_values(made)

    expected = pixel_array(made)
    assert values.shape == size
    assert np.array_equal(values, expected)
    assert values.dtype == expected.dtype.newbyteorder("<")
    assert decoder.startswith(("numpy", "pydicom"))
