"""Multipart bodies, in pieces of any size, cut anywhere."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dicom.multipart import read_parts
from ingest.dicom.peer_errors import AnswerCut, BadAnswer

BOUNDARY = "b-0"
#: Contents made of what a delimiter is made of, so that almost-delimiters are common.
contents = st.lists(st.sampled_from([b"\r\n", b"--", b"\r\n--", b"b-", b"0", b"\0", b"\r", b"-"]), max_size=12).map(
    b"".join
).filter(lambda one: f"--{BOUNDARY}".encode() not in one)  # fmt: skip


def body(parts: list[bytes], *, header: bytes = b"Content-Type: application/dicom\r\n", preamble: bytes = b"") -> bytes:
    pieces = [b"--%b\r\n%b\r\n%b\r\n" % (BOUNDARY.encode(), header, one) for one in parts]
    return preamble + b"".join(pieces) + b"--%b--\r\n" % BOUNDARY.encode()


def pieces(whole: bytes, sizes: list[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield whole[start : start + size]
        start += size
    yield whole[start:]


def read(chunks: Iterator[bytes]) -> list[bytes]:
    return [b"".join(part.chunks) for part in read_parts(chunks, BOUNDARY)]


@given(st.lists(contents, max_size=4), st.lists(st.integers(0, 9), max_size=60), st.sampled_from([b"", b"hello\r\n"]))
def test_parts_come_back_whatever_the_pieces(parts: list[bytes], sizes: list[int], preamble: bytes) -> None:
    assert read(pieces(body(parts, preamble=preamble), sizes)) == parts


@given(st.lists(contents, min_size=1, max_size=3), st.data())
def test_a_body_that_is_cut_anywhere_ends_with_an_error_after_its_whole_parts(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = body(parts)
    end = len(whole) - len(b"--\r\n")
    cut = data.draw(st.integers(0, end + 1))
    came: list[bytes] = []

    with pytest.raises(AnswerCut):
        for part in read_parts(pieces(whole[:cut], []), BOUNDARY):
            came.append(b"".join(part.chunks))

    assert came == parts[: len(came)]


def test_what_is_left_of_a_part_is_passed_over() -> None:
    parts = read_parts(pieces(body([b"one" * 50, b"two", b"three"]), [20] * 40), BOUNDARY)

    assert [next(part.chunks) for part in parts][1:] == [b"two", b"three"]


def test_a_part_without_header_is_read() -> None:
    assert read(pieces(body([b"one", b""], header=b""), [3] * 30)) == [b"one", b""]


def test_a_part_must_be_as_long_as_it_says() -> None:
    assert read(pieces(body([b"four"], header=b"content-length: 4\r\n"), [])) == [b"four"]

    with pytest.raises(AnswerCut):
        read(pieces(body([b"four"], header=b"Content-Length: 5\r\n"), []))


def test_a_header_that_does_not_end_fills_no_memory() -> None:
    endless = (b"x" * 1000 for _ in range(10**9))
    start = iter([b"--b-0\r\n"])

    with pytest.raises(BadAnswer):
        read(piece for source in (start, endless) for piece in source)
