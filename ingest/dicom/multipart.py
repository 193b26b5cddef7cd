"""Which parts does a multipart answer hold? Read as it arrives, so that nothing but a few buffers is in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest.dicom.peer_errors import AnswerCut, BadAnswer

#: Bytes of one part's header; those of DICOMweb have a few hundred.
_MAX_HEADER = 2**16


@dataclass(frozen=True)
class Part:
    """One part of an answer.

    Attributes:
        chunks: Its bytes; to be used up before the next part is asked for, what is left is passed over.
    """

    chunks: Iterator[bytes]


def read_parts(chunks: Iterable[bytes], boundary: str) -> Iterator[Part]:
    """The parts of a multipart body.

    A part whose end never comes is given as far as it goes, and its chunks then end with an error: only a part that
    was read without one is whole.

    Args:
        chunks: The body, in pieces of any size.
        boundary: The boundary parameter of the Content-Type.

    Raises:
        AnswerCut: The body ends before its closing boundary, or a part is not as long as it says.
        BadAnswer: A part's header does not end.

    Source: RFC 2046, 5.1.1; DICOM PS3.18, 8.6.1.2.
    """
    # With a line break put before it, the first boundary looks like all others.
    buffer = _Buffer(chunks, b"\r\n")
    delimiter = b"\r\n--" + boundary.encode("ascii", "replace")
    _drain(buffer.until(delimiter))
    while buffer.peek(2) != b"--":
        # From the end of the boundary's line on, so that a part without any header is read too.
        _drain(buffer.until(b"\r\n", consume=False))
        header = _header(buffer)
        content = _counted(buffer.until(delimiter), _length(header))
        yield Part(content)
        _drain(content)


def _drain(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass


def _header(buffer: "_Buffer") -> bytes:
    header = b""
    for piece in buffer.until(b"\r\n\r\n"):
        header += piece
        if len(header) > _MAX_HEADER:
            raise BadAnswer()
    return header


def _length(header: bytes) -> int | None:
    """The part's Content-Length, if it has one that can be read."""
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None


def _counted(pieces: Iterator[bytes], length: int | None) -> Iterator[bytes]:
    seen = 0
    for piece in pieces:
        seen += len(piece)
        yield piece
    if length is not None and seen != length:
        raise AnswerCut()


class _Buffer:
    """What has arrived and is not used yet."""

    def __init__(self, chunks: Iterable[bytes], start: bytes):
        self._chunks = iter(chunks)
        self._data = bytearray(start)

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay."""
        while len(self._data) < count:
            self._refill()
        return bytes(self._data[:count])

    def until(self, marker: bytes, *, consume: bool = True) -> Iterator[bytes]:
        """Everything before the marker, piece by piece."""
        keep = len(marker) - 1
        while (at := self._data.find(marker)) < 0:
            # The marker may have begun in the last bytes.
            if len(self._data) > keep:
                piece = bytes(self._data[:-keep])
                del self._data[:-keep]
                yield piece
            self._refill()
        piece = bytes(self._data[:at])
        del self._data[: at + len(marker) if consume else at]
        if piece:
            yield piece

    def _refill(self) -> None:
        piece = next(self._chunks, None)
        if piece is None:
            raise AnswerCut()
        self._data += piece
