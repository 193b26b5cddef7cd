"""What are the stored values of a DICOM image, and which decoder gave them?"""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom.uid as syntaxes
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_expected_length, iter_pixels

from ingest.dicom.errors import BadHeader, NoPixels, Truncated, Undecodable
from ingest.dicom.header import text, value

#: Elements that hold pixels; at most one is present.  Source: DICOM PS3.3 C.7.6.3, C.7.6.24, C.7.6.25.
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
#: Decoders of each transfer syntax, fastest first, as measured on real files (2 to 5 times between first and last).
_ORDER: dict[str, tuple[str, ...]] = {
    syntaxes.RLELossless: ("pylibjpeg", "pydicom"),
    syntaxes.JPEGBaseline8Bit: ("pillow", "pylibjpeg", "gdcm"),
    syntaxes.JPEGExtended12Bit: ("pylibjpeg", "gdcm", "pillow"),
    syntaxes.JPEGLossless: ("gdcm", "pylibjpeg"),
    syntaxes.JPEGLosslessSV1: ("gdcm", "pylibjpeg"),
    syntaxes.JPEGLSLossless: ("pyjpegls", "gdcm", "pylibjpeg"),
    syntaxes.JPEGLSNearLossless: ("pyjpegls", "gdcm", "pylibjpeg"),
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


def has_pixels(dataset: Dataset) -> bool:
    """True if the object carries pixel data of any kind."""
    return any(keyword in dataset for keyword in _PIXEL_KEYWORDS)


def digest_pixels(dataset: Dataset) -> Digest:
    """Decodes every frame, one in memory at a time, and hashes the values.

    Raises:
        NoPixels: There is no pixel data.
        Truncated: Pixel data ends early.
        Undecodable: No decoder of the transfer syntax gives the pixels.
    """
    _check(dataset)
    failures: list[str] = []
    for decoder in _decoders(dataset):
        digest = hashlib.sha256()
        shape: tuple[int, ...] = ()
        dtype = ""
        count = 0
        try:
            for frame in _frames(dataset, decoder):
                values = np.ascontiguousarray(_little_endian(frame))
                shape, dtype, count = values.shape, values.dtype.str, count + 1
                digest.update(values.data)
        except Exception as error:  # noqa: BLE001  decoders are foreign code and raise anything
            failures.append(_failed(decoder, error))
            continue
        _check_count(dataset, count)
        digest.update(f"{dtype} {count} {shape}".encode())
        return Digest(sha256=digest.hexdigest(), shape=shape, n_frames=count, decoder=_versioned(decoder))
    raise Undecodable(_sentence(dataset, failures))


def stored_values(dataset: Dataset) -> tuple[NDArray[Any], str]:
    """Stored values of all frames, and the decoder's name and version; nothing is rescaled, windowed or inverted.

    (H, W) for one grey frame, (F, H, W) for several, with a last axis of 3 in colour.

    Raises:
        NoPixels: There is no pixel data.
        Truncated: Pixel data ends early.
        Undecodable: No decoder of the transfer syntax gives the pixels.
    """
    _check(dataset)
    failures: list[str] = []
    for decoder in _decoders(dataset):
        try:
            frames = list(_frames(dataset, decoder))
        except Exception as error:  # noqa: BLE001  decoders are foreign code and raise anything
            failures.append(_failed(decoder, error))
            continue
        _check_count(dataset, len(frames))
        return _little_endian(frames[0] if len(frames) == 1 else np.stack(frames)), _versioned(decoder)
    raise Undecodable(_sentence(dataset, failures))


def transfer_syntax(dataset: Dataset) -> str:
    """UID of the coding of the pixels; empty if the file does not say."""
    return str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))


def is_native(dataset: Dataset) -> bool:
    """True if the pixels are stored without compression (a deflated file counts as native: its pixels are)."""
    syntax = transfer_syntax(dataset)
    return not syntax or not syntaxes.UID(syntax).is_encapsulated


def _check(dataset: Dataset) -> None:
    """Refuses what no decoder needs to see."""
    if not has_pixels(dataset):
        raise NoPixels()
    missing = [keyword for keyword in ("Rows", "Columns", "BitsAllocated") if value(dataset, keyword) is None]
    if missing:
        raise Undecodable(f"The file has pixel data but no {missing[0]}; complete the header at the source.")
    try:
        frames = text(dataset, "NumberOfFrames") or "1"
    except BadHeader:
        frames = ""
    if not frames.isdigit():
        raise Undecodable("The file's NumberOfFrames is no whole number; correct the header at the source.")
    if "PixelData" in dataset and is_native(dataset) and transfer_syntax(dataset):
        try:
            expected = get_expected_length(dataset)
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            raise Undecodable("The header does not say how long the pixel data is; complete it.") from error
        if len(dataset.PixelData) < expected:
            raise Truncated(
                f"The file holds {len(dataset.PixelData)} of {expected} bytes of pixels; send it again from its source."
            )


def _check_count(dataset: Dataset, count: int) -> None:
    expected = int(text(dataset, "NumberOfFrames") or 1)
    if count < max(expected, 1):
        raise Truncated(f"The file holds {count} of {expected} frames; send it again from its source.")


def _decoders(dataset: Dataset) -> tuple[str, ...]:
    """Names of pydicom's plugins to try, in order; one empty name for native pixels, which need none."""
    syntax = transfer_syntax(dataset)
    if not syntax:
        raise Undecodable("The file does not say how its pixels are coded (no transfer syntax); export it again.")
    if is_native(dataset):
        return ("",)
    try:
        available = get_decoder(syntaxes.UID(syntax)).available_plugins
    except NotImplementedError as error:
        raise Undecodable(
            f"Transfer syntax {syntax} has no decoder; send the file in another transfer syntax."
        ) from error
    return tuple(name for name in _ORDER.get(syntax, available) if name in available)


def _frames(dataset: Dataset, decoder: str) -> Iterator[NDArray[Any]]:
    """Frames by one decoder."""
    if decoder == "gdcm":
        import gdcm

        # Its C++ side writes to stderr whatever Python does; what it says comes back as an exception anyway.
        gdcm.Trace.WarningOff()
        gdcm.Trace.ErrorOff()
    return iter_pixels(dataset, decoding_plugin=decoder)


def _little_endian(frame: NDArray[Any]) -> NDArray[Any]:
    """The same values in the byte order that every file shares from here on."""
    return frame.astype(frame.dtype.newbyteorder("<"), copy=False)


def _failed(decoder: str, error: Exception) -> str:
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


def _versioned(decoder: str) -> str:
    name = decoder or "pydicom"
    return f"{name} {importlib.metadata.version(_DISTRIBUTION.get(name, name))}"
