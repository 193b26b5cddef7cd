import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless

from ingest.dicom.decode import digest_pixels, stored_values
from ingest.dicom.errors import Truncated, Undecodable
from ingest.dicom.header import counted_warnings, read_header
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

#: Files of expected.csv that only decoders outside our requirements read, and which.
NEEDS = {"JPGExtended.dcm": "libjpeg", "J2K_pixelrep_mismatch.dcm": "pylibjpeg"}
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


@pytest.mark.parametrize(
    ("syntax", "decoder"), [(RLELossless, ("pydicom", "pylibjpeg")), (JPEGLSLossless, ("pyjpegls",))]
)
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


def test_a_cut_code_stream_is_undecodable_and_says_by_whom(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 4096, (40, 40), dtype=np.uint16)
    path = write_radiograph(tmp_path / "a.dcm", a_radiograph(picture), syntax=JPEGLSLossless)
    dataset = read_header(path.read_bytes())
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]

    with pytest.raises(Undecodable, match="pyjpegls"), counted_warnings():
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
