"""What does a compressed frame say of itself, and does the DICOM header agree?"""

import struct
from dataclasses import dataclass, replace

import pydicom.uid as syntaxes
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from ingest.dicom.errors import Truncated, Undecodable
from ingest.dicom.header import numbers

#: Start of a frame header: of JPEG (all but the tables C4, C8 and CC) and of JPEG-LS.
#: Source: ITU-T T.81, table B.1; ITU-T T.87, table C.1.
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_SCAN_HEADER, _PICTURE_START, _PICTURE_END = 0xDA, 0xD8, 0xD9
#: Segments of applications that say how the colours are meant.
_JFIF, _ADOBE = 0xE0, 0xEE
#: Markers without a length: restarts, start of image, temporary.
_BARE = frozenset({*range(0xD0, 0xD9), 0x01})
#: Start of a JPEG 2000 code stream and of its size segment.  Source: ITU-T T.800, A.4.1 and A.5.1.
_J2K_START = b"\xff\x4f\xff\x51"
#: JPEG whose decoder says nothing of a picture that ends early. Its data holds no 0xFF but before 0x00 or a restart, so
#: that the end can be seen from outside.
_SILENT = frozenset({syntaxes.JPEGBaseline8Bit, syntaxes.JPEGExtended12Bit})
_JPEG = _SILENT | {
    syntaxes.JPEGLossless,
    syntaxes.JPEGLosslessSV1,
    syntaxes.JPEGLSLossless,
    syntaxes.JPEGLSNearLossless,
}
_J2K = frozenset(
    {
        syntaxes.JPEG2000Lossless,
        syntaxes.JPEG2000,
        syntaxes.HTJ2KLossless,
        syntaxes.HTJ2KLosslessRPCL,
        syntaxes.HTJ2K,
    }
)
#: End of a JPEG or JPEG-LS picture. Without it CharLS reads on behind the data and may take seconds for a few pixels.
_END = b"\xff\xd9"
#: Bytes after the end of a picture that are taken for padding; a second picture has more.
_PADDING = 64


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Size of the picture as its code stream has it.

    Attributes:
        rows: 0 if the stream does not say before its data.
        columns: Pixels across.
        samples: Components of each pixel.
        bits: Depth of a component.
        at: Offset of what follows this header.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    at: int


def check_streams(dataset: Dataset, *, syntax: str, frames: int) -> None:
    """Compares every compressed frame with the header; nothing is decoded, and native decoders see no mismatch.

    A decoder allocates what the stream says and fills in what the stream lacks, so both are looked at before.

    Raises:
        Undecodable: The data are not divided into frames, or a frame has another size than the header says.
        Truncated: Frames are missing, or a frame ends before its data does.
    """
    if syntax not in _JPEG | _J2K:
        # Run lengths say no size of their own; their decoder counts.
        return
    extended = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        extended = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    count = 0
    try:
        for frame in generate_frames(dataset.PixelData, number_of_frames=frames, extended_offsets=extended):
            check_stream(dataset, frame, syntax=syntax)
            count += 1
            if count == frames:
                break
    except (ValueError, struct.error, LookupError, TypeError, EOFError) as error:
        raise Undecodable("The compressed pixels are not divided into frames; send the file again.") from error
    if count < frames:
        raise Truncated(f"The file holds {count} of {frames} frames; send it again from its source.")


def check_stream(dataset: Dataset, frame: bytes, *, syntax: str) -> None:
    """Compares one frame of JPEG, JPEG-LS or JPEG 2000 with the header.

    Raises:
        Undecodable: The frame is no stream of this coding, or has another size than the header says.
        Truncated: The frame ends before its data does.
    """
    stream = _jpeg(frame) if syntax in _JPEG else _jpeg2000(frame)
    if stream is None:
        raise Undecodable("The compressed pixels are not what the transfer syntax says; send the file again.")
    said = tuple(int((numbers(dataset, keyword) or (1,))[0]) for keyword in ("Rows", "Columns", "SamplesPerPixel"))
    found = (stream.rows or said[0], stream.columns, stream.samples)
    if found != said:
        raise Undecodable(
            f"The header says {said[0]} x {said[1]} pixels of {said[2]}, the compressed picture {found[0]} x {found[1]}"
            f" of {found[2]}; send the file again from its source."
        )
    if stream.bits > (numbers(dataset, "BitsAllocated") or (0,))[0]:
        raise Undecodable(f"The header has no room for the compressed picture's {stream.bits} bits; send it again.")
    if syntax in _JPEG:
        end = frame.find(_END, stream.at) if syntax in _SILENT else frame.rfind(_END, stream.at)
        if end < 0 or len(frame) - end > _PADDING:
            raise Truncated("The compressed picture does not end where its data does; send it again from its source.")


def _jpeg(frame: bytes) -> Stream | None:
    """Frame header of a JPEG or JPEG-LS stream whose segments lead to a scan. Source: ITU-T T.81, B.1.1.2 and B.2.2.

    Refused besides is what libjpeg warns of before the scan, because GDCM takes such a warning for a mistake of its own
    and ends the process: bytes between segments, an unknown version of JFIF, an unknown transform of colours.
    """
    if frame[:2] != bytes((0xFF, _PICTURE_START)):
        return None
    at = 2
    found: Stream | None = None
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        after = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS and at + 10 <= len(frame):
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
            found = Stream(rows=rows, columns=columns, samples=samples, bits=bits, at=after)
        elif marker == _SCAN_HEADER:
            return found and replace(found, at=after)
        elif marker == _PICTURE_END or _is_unknown(marker, frame[at + 4 : after]):
            return None
        at = after
    return None


def _is_unknown(marker: int, content: bytes) -> bool:
    """True for an application's segment of a kind that libjpeg warns of. Source: ITU-T T.871, 10.1; T.872, 6.5.3."""
    if marker == _JFIF:
        return content[:5] == b"JFIF\0" and content[5:6] != b"\x01"
    return marker == _ADOBE and content[:5] == b"Adobe" and content[11:12] not in (b"\0", b"\x01")


def _jpeg2000(frame: bytes) -> Stream | None:
    """Size segment of a JPEG 2000 code stream, also inside a JP2 file. Source: ITU-T T.800, A.5.1."""
    at = frame.find(_J2K_START, 0, 4096)
    if at < 0 or len(frame) < at + 45:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
    (samples,) = struct.unpack_from(">H", frame, at + 40)
    depth, across, down = struct.unpack_from(">3B", frame, at + 42)
    if not across or not down:
        return None
    return Stream(
        rows=-(-bottom // down) + (-top // down),
        columns=-(-right // across) + (-left // across),
        samples=samples,
        # The highest bit of the depth is the sign.
        bits=(depth & 0x7F) + 1,
        at=at,
    )
