"""What are the stored values of a DICOM image, and which decoder gave them?"""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pydicom.uid as syntaxes
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_expected_length, iter_pixels

from ingest.dicom.codestream import check_streams
from ingest.dicom.complaints import complaints_raised
from ingest.dicom.complete import check_described
from ingest.dicom.errors import NoPixels, Truncated, Undecodable
from ingest.dicom.header import text, transfer_syntax, value
from ingest.dicom.limits import check_size
from ingest.dicom.native import is_plain, plain_frames

#: Elements that hold pixels; at most one is present.  Source: DICOM PS3.3 C.7.6.3, C.7.6.24, C.7.6.25.
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
#: Decoders of each transfer syntax, fastest first, as measured on real files (2 to 5 times between first and last).
#: JPEG of 12 bits needs pylibjpeg-libjpeg, which is under the GPL: the extra `gpl` installs it, nothing requires it.
#: It is asked for nothing else, because it fills in what a damaged picture lacks.
_ORDER: dict[str, tuple[str, ...]] = {
    # Not pydicom's own decoder, which makes a picture of damaged runs too and only warns.
    syntaxes.RLELossless: ("pylibjpeg",),
    syntaxes.JPEGBaseline8Bit: ("pillow", "gdcm"),
    syntaxes.JPEGExtended12Bit: ("pylibjpeg", "gdcm", "pillow"),
    syntaxes.JPEGLossless: ("gdcm",),
    syntaxes.JPEGLosslessSV1: ("gdcm",),
    syntaxes.JPEGLSLossless: ("pyjpegls", "gdcm"),
    syntaxes.JPEGLSNearLossless: ("pyjpegls", "gdcm"),
    syntaxes.JPEG2000Lossless: ("pylibjpeg", "pillow", "gdcm"),
    syntaxes.JPEG2000: ("pylibjpeg", "pillow", "gdcm"),
    syntaxes.HTJ2KLossless: ("pylibjpeg",),
    syntaxes.HTJ2KLosslessRPCL: ("pylibjpeg",),
    syntaxes.HTJ2K: ("pylibjpeg",),
}
#: Distribution of each decoder, for the version in the record.
_DISTRIBUTION = {"pylibjpeg": "pylibjpeg", "pyjpegls": "pyjpegls", "gdcm": "python-gdcm", "pillow": "pillow"}


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What decoding an image to its end found, without the values.

    Attributes:
        sha256: Hash of dtype, shape and values, little endian: equal for equal pictures in other codings.
        shape: Shape of one frame: (H, W), or (H, W, 3) in colour.
        n_frames: Frames that were decoded.
        decoder: Name and version.
    """

    sha256: str
    shape: tuple[int, ...]
    n_frames: int
    decoder: str


@dataclass(frozen=True, kw_only=True)
class StoredFrame:
    """Stored values of one frame.

    Attributes:
        values: (H, W), or (H, W, 3) in colour; nothing is rescaled, windowed or inverted.
        decoder: Name and version.
    """

    values: NDArray[Any]
    decoder: str


def has_pixels(dataset: Dataset) -> bool:
    """True if the object carries pixel data of any kind."""
    return any(keyword in dataset for keyword in _PIXEL_KEYWORDS)


def digest_pixels(dataset: Dataset) -> Digest:
    """Decodes every frame, one in memory at a time, and hashes the values.

    Raises:
        NoPixels: There is no pixel data.
        TooLarge: The image passes a limit of `ingest.dicom.limits`.
        Truncated: Pixel data ends early.
        Undecodable: No decoder of the transfer syntax gives the pixels.
    """
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    dtype, count = "", 0
    decoders: dict[str, None] = {}
    for frame in stored_frames(dataset):
        values = np.ascontiguousarray(frame.values)
        shape, dtype, count = values.shape, values.dtype.str, count + 1
        decoders[frame.decoder] = None
        digest.update(values.data)
    digest.update(f"{dtype} {count} {shape}".encode())
    return Digest(sha256=digest.hexdigest(), shape=shape, n_frames=count, decoder=", ".join(decoders))


def stored_values(dataset: Dataset) -> tuple[NDArray[Any], str]:
    """Stored values of all frames, and the decoder's name and version; nothing is rescaled, windowed or inverted.

    (H, W) for one grey frame, (F, H, W) for several, with a last axis of 3 in colour.

    Raises:
        NoPixels: There is no pixel data.
        TooLarge: The image passes a limit of `ingest.dicom.limits`.
        Truncated: Pixel data ends early.
        Undecodable: No decoder of the transfer syntax gives the pixels.
    """
    frames = stored_frames(dataset)
    first = next(frames)
    count = frame_count(dataset)
    if count == 1:
        return first.values, first.decoder
    values = np.empty((count, *first.values.shape), dtype=first.values.dtype)
    values[0] = first.values
    decoders = {first.decoder: None}
    for at, frame in enumerate(frames, 1):
        values[at] = frame.values
        decoders[frame.decoder] = None
    return values, ", ".join(decoders)


def stored_frames(dataset: Dataset) -> Iterator[StoredFrame]:
    """Stored values of one frame after the other; at least one, and as many as the header says.

    Each frame comes from the first decoder of the transfer syntax that gives it.

    Raises:
        NoPixels: There is no pixel data.
        TooLarge: The image passes a limit of `ingest.dicom.limits`.
        Truncated: Pixel data ends early.
        Undecodable: No decoder of the transfer syntax gives the pixels.
    """
    _check(dataset)
    check_size(dataset)
    decoders = _decoders(dataset)
    count, done = frame_count(dataset), 0
    if not is_native(dataset):
        check_streams(dataset, syntax=transfer_syntax(dataset), frames=count)
    failures: list[str] = []
    for decoder in decoders:
        frames = _frames(dataset, decoder, start=done, count=count)
        while done < count:
            try:
                values = next(frames)
            except StopIteration:
                raise Truncated(f"The file holds {done} of {count} frames; send it again from its source.") from None
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  a panic in a decoder's Rust code is no Exception
                failures.append(_failed(decoder, error))
                break
            yield StoredFrame(values=_little_endian(values), decoder=_versioned(decoder))
            done += 1
        if done == count:
            return
    raise Undecodable(_sentence(dataset, failures))


def frame_count(dataset: Dataset) -> int:
    """Frames that the header says; 1 if it says none.

    Raises:
        BadHeader: The element cannot be read.
    """
    return max(int(text(dataset, "NumberOfFrames") or 1), 1)


def is_native(dataset: Dataset) -> bool:
    """True if the pixels are stored without compression (a deflated file counts as native: its pixels are)."""
    return _is_native(transfer_syntax(dataset))


@cache
def _is_native(syntax: str) -> bool:
    uid = syntaxes.UID(syntax)
    return not uid or (uid.is_transfer_syntax and not uid.is_encapsulated)


def _check(dataset: Dataset) -> None:
    """Refuses what no decoder needs to see."""
    if not has_pixels(dataset):
        raise NoPixels()
    if all(value(dataset, keyword) is None for keyword in _PIXEL_KEYWORDS):
        raise Truncated("The file's pixel data is empty; send it again from its source.")
    check_described(dataset)
    if "PixelData" in dataset and is_native(dataset) and transfer_syntax(dataset):
        try:
            expected = get_expected_length(dataset)
        except (AttributeError, ValueError, TypeError, KeyError, NotImplementedError, BytesLengthException) as error:
            raise Undecodable("The header does not say how long the pixel data is; complete it.") from error
        if len(dataset.PixelData) < expected:
            raise Truncated(
                f"The file holds {len(dataset.PixelData)} of {expected} bytes of pixels; send it again from its source."
            )


def _decoders(dataset: Dataset) -> tuple[str, ...]:
    """Names of pydicom's plugins to try, in order; for native pixels, "numpy" or the empty name of pydicom itself."""
    syntax = transfer_syntax(dataset)
    if not syntax:
        raise Undecodable("The file does not say how its pixels are coded (no transfer syntax); export it again.")
    if is_native(dataset):
        return ("numpy",) if is_plain(dataset, syntax) else ("",)
    try:
        available = get_decoder(syntaxes.UID(syntax)).available_plugins
    except (NotImplementedError, ValueError) as error:
        raise Undecodable(
            f"Transfer syntax {syntax} has no decoder; send the file in another transfer syntax."
        ) from error
    return tuple(name for name in _ORDER.get(syntax, available) if name in available)


def _frames(dataset: Dataset, decoder: str, *, start: int, count: int) -> Iterator[NDArray[Any]]:
    """Frames by one decoder, from the one with index `start` on."""
    if decoder == "numpy":
        yield from plain_frames(dataset, transfer_syntax(dataset), count=count)
        return
    # All in one pass where that is possible: a frame asked for by its number is searched for from the beginning.
    indices = range(start, count) if start or not decoder else None
    frames = iter_pixels(dataset, indices=indices, decoding_plugin=decoder)
    if decoder != "gdcm":
        yield from frames
        return
    import gdcm

    # Its C++ side writes to stderr whatever Python does; what it says comes back as an exception anyway.
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    while True:
        with complaints_raised():
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _little_endian(frame: NDArray[Any]) -> NDArray[Any]:
    """The same values in the byte order that every file shares from here on."""
    return frame.astype(frame.dtype.newbyteorder("<"), copy=False)


def _failed(decoder: str, error: BaseException) -> str:
    return f"{decoder or 'pydicom'} ({type(error).__name__})"


def _sentence(dataset: Dataset, failures: list[str]) -> str:
    syntax = syntaxes.UID(transfer_syntax(dataset))
    if not failures:
        return (
            f"No decoder for {syntax.name} is installed; `interval doctor` lists those that are. "
            "Install one, or send the file in another transfer syntax."
        )
    return (
        f"The {syntax.name} pixels could not be decoded by {', '.join(failures)}; send the file again or uncompressed."
    )


@cache
def _versioned(decoder: str) -> str:
    name = decoder or "pydicom"
    return f"{name} {importlib.metadata.version(_DISTRIBUTION.get(name, name))}"
