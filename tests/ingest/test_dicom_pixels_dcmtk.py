"""Display values beside those of DCMTK, an independent implementation.

DCMTK chooses no VOI by itself, so each case says what our side takes by itself: `+Wi 1` the first window of the file,
`+Wl 1` its first VOI table, `+Ww centre width` a window that stands for a stretched range or for LINEAR_EXACT,
`+Wfs` SIGMOID, `+G` brightness of colours, `+F n` a frame; `-O` leaves overlays out. It cuts off fractions of a level
where we keep them, so ours are rounded first, and the two may differ by one level of 255.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ingest.dicom.header import counted_warnings, read_header
from ingest.dicom.pixels import display
from ingest.pixels import Pixels
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
#: File, what it is there for, and DCMTK's options; none where the range was stretched and is taken from our record.
REAL = [
    ("dx_image.dcm", "MONOCHROME1 and PresentationLUTShape INVERSE", ["+Wi", "1"]),
    ("dicomdirtests/77654033/CR1/6154", "MONOCHROME1, fractional slope, 12 of 16 bits", ["+Wi", "1"]),
    ("dicomdirtests/77654033/CT2/17106", "signed with rescale", ["+Wi", "1"]),
    ("MR_small_bigendian.dcm", "big endian", ["+Wi", "1"]),
    ("vlut_04.dcm", "VOI table", ["+Wl", "1"]),
    ("mlut_18.dcm", "modality table, 12 bits signed", []),
    ("CT1_RLE", "padding, no window, RLE", []),
    ("CT_small.dcm", "signed with rescale, no window", []),
    ("examples_overlay.dcm", "two windows and an overlay", ["+Wi", "1"]),
    ("bad_sequence.dcm", "two windows, lossless JPEG", ["+Wi", "1"]),
    ("JPGLosslessP14SV1_1s_1f_8b.dcm", "8 bits, lossless JPEG", ["+Wi", "1"]),
    ("examples_palette.dcm", "palette", ["+G"]),
    ("color-pl.dcm", "colour by plane", ["+G"]),
    ("examples_ybr_color.dcm", "colour in lossy JPEG, subsampled", ["+G"]),
    ("emri_small.dcm", "enhanced multi-frame", []),
    ("image_dfl.dcm", "deflated", []),
]


@pytest.fixture
def dcmtk(require_program: Callable[[str], Path], tmp_path: Path) -> Callable[..., NDArray[Any]]:
    """Picture of a file as DCMTK shows it, in levels of 0 to 255."""
    program = require_program("dcmj2pnm")

    def shown(path: Path, *options: str) -> NDArray[Any]:
        picture = tmp_path / "shown.pgm"
        done = subprocess.run(
            [program, "--quiet", "--write-raw-pnm", "--no-overlays", *options, path, picture], timeout=60
        )
        assert done.returncode == 0
        with Image.open(picture) as image:
            return np.asarray(image).astype(np.float64)

    return shown


def ours(path: Path, frame: int = 0) -> Pixels:
    with counted_warnings():
        return display(read_header(path.read_bytes()), frame=frame)


def levels_apart(pixels: Pixels, theirs: NDArray[Any]) -> float:
    """Largest difference of any pixel that is no padding, in levels of 255."""
    return float(np.abs(np.rint(pixels.values[0] * 255) - theirs)[pixels.valid].max())


def as_window(pixels: Pixels) -> list[str]:
    """DCMTK's options for the range that was stretched: LINEAR reaches from c - w / 2 to c + w / 2 - 1."""
    (found,) = [at for step in pixels.steps if (at := re.match(r"no window: stretched from (\S+) to (\S+)", step))]
    low, high = float(found[1]), float(found[2])
    return ["+Ww", str((low + high + 1) / 2), str(high - low + 1)]


@pytest.mark.parametrize(("name", "options"), [(name, options) for name, _, options in REAL], ids=[r[1] for r in REAL])
def test_real_files_are_shown_as_by_dcmtk(
    shared_data: Path, dcmtk: Callable[..., NDArray[Any]], name: str, options: list[str]
) -> None:
    path = shared_data / "dicom" / name
    pixels = ours(path)

    theirs = dcmtk(path, *(options or as_window(pixels)))

    assert theirs.shape == pixels.grid.shape
    assert theirs.std() > 5
    assert levels_apart(pixels, theirs) <= 1


def test_the_real_chest_is_shown_as_by_dcmtk(
    shared_data: Path, dcmtk: Callable[..., NDArray[Any]], require_program: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = tmp_path / "plain.dcm"
    subprocess.run([require_program("dcmdjpls"), shared_data / "dicom" / "RG1_JLSN", plain], check=True, timeout=60)

    pixels = ours(shared_data / "dicom" / "RG1_JLSN")

    assert levels_apart(pixels, dcmtk(plain, "+Wi", "1")) <= 1


def test_each_frame_of_a_real_enhanced_file_is_shown_as_by_dcmtk(
    shared_data: Path, dcmtk: Callable[..., NDArray[Any]]
) -> None:
    path = shared_data / "dicom" / "emri_small.dcm"

    for frame in (3, 9):
        pixels = ours(path, frame)
        theirs = dcmtk(path, "+F", str(frame + 1), *as_window(pixels))
        assert levels_apart(pixels, theirs) <= 1


def a_table(entries: list[int], first: int, bits: int) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.array(entries, dtype="<u2").tobytes()
    return Sequence([item])


def a_palette() -> dict[str, Any]:
    """Red rises, green falls, blue is a step; 16 bits."""
    level = np.arange(256, dtype=np.uint16) * 257
    tables = {"Red": level, "Green": level[::-1], "Blue": np.where(level > 30_000, 65_535, 0)}
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, table in tables.items():
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = table.astype("<u2").tobytes()
    return tags


@pytest.mark.parametrize(
    ("pixels", "tags", "options"),
    [
        (RAMP, {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}, ["+Wi", "1", "+Wfs"]),
        # LINEAR of c + 0.5 and w + 1 is LINEAR_EXACT of c and w, which this DCMTK does not know.
        (
            RAMP,
            {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXACT"},
            ["+Ww", "2000.5", "901"],
        ),
        (RAMP, {"WindowCenter": [1000, 3000], "WindowWidth": [500, 200]}, ["+Wi", "1"]),
        (
            (RAMP.astype(np.int16) - 2048).astype(np.int16),
            {"RescaleSlope": "-2.5", "RescaleIntercept": "10", "WindowCenter": 300, "WindowWidth": 4000},
            ["+Wi", "1"],
        ),
        (
            RAMP,
            {
                "PhotometricInterpretation": "MONOCHROME1",
                "VOILUTSequence": a_table([4095 - at * at // 4096 for at in range(4096)], 0, 12),
            },
            ["+Wl", "1"],
        ),
        (
            RAMP << np.uint16(4),
            {"BitsStored": 12, "HighBit": 15, "WindowCenter": 2048, "WindowWidth": 4096},
            ["+Wi", "1"],
        ),
        ((RAMP % 256).astype(np.uint8), a_palette(), ["+G"]),
    ],
    ids=["sigmoid", "linear exact", "several windows", "negative slope", "inverted table", "high bit", "palette 16"],
)
def test_files_with_what_no_real_one_has_are_shown_as_by_dcmtk(
    tmp_path: Path,
    dcmtk: Callable[..., NDArray[Any]],
    pixels: NDArray[Any],
    tags: dict[str, Any],
    options: list[str],
) -> None:
    path = write_radiograph(tmp_path / "made.dcm", a_radiograph(pixels, **{"BitsStored": 8 * pixels.itemsize, **tags}))

    theirs = dcmtk(path, *options)

    assert theirs.std() > 10
    assert levels_apart(ours(path), theirs) <= 1
