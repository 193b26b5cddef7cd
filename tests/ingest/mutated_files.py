"""Damaged copies of real DICOM files, and a process that reads them under a memory limit.

As a program: `python -m tests.ingest.mutated_files FOLDER FIRST LAST` reads the copies with these numbers and prints
one line of JSON before and one after each, so that a crash or a hang can be laid at one copy's door.
"""

import csv
import json
import random
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path

#: Address space, in bytes, that reading any one file may add to a process that has all decoders loaded.
ALLOWANCE = 2 * 2**30
#: Bytes from the beginning within which a header's lengths and sizes lie.
_HEADER = 3000
#: What a damaged length looks like: all ones, zero, the largest and the smallest signed number.
_LENGTHS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff", b"\0\0")


def damaged(folder: Path, number: int) -> tuple[str, bytes]:
    """Name of a real file and its damaged content; every transfer syntax is as likely as any other."""
    chance = random.Random(number)
    groups: dict[str, list[str]] = defaultdict(list)
    with (folder / "expected.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            groups[row["transfer_syntax"]].append(row["file"])
    name = chance.choice(groups[chance.choice(sorted(groups))])
    return name, _damage((folder / name).read_bytes(), chance)


def _damage(whole: bytes, chance: random.Random) -> bytes:
    content = bytearray(whole)
    header = min(len(content) - 4, _HEADER)
    kind = chance.choice(("bytes", "bits", "cut", "length", "moved", "frame header"))
    if kind == "bytes":
        for _ in range(chance.choice((1, 3, 10, 100))):
            content[chance.randrange(len(content))] = chance.randrange(256)
    elif kind == "bits":
        for _ in range(chance.choice((1, 2, 5))):
            content[chance.randrange(header)] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del content[chance.randrange(len(content)) :]
    elif kind == "length":
        length, at = chance.choice(_LENGTHS), chance.randrange(header)
        content[at : at + len(length)] = length
    elif kind == "moved":
        at, count = chance.randrange(len(content)), chance.randrange(1, 500)
        if chance.random() < 0.5:
            del content[at : at + count]
        else:
            content[at:at] = chance.randbytes(count)
    else:
        # Where a compressed picture says its size and how it is coded.
        starts = [content.find(mark) for mark in (b"\xff\x4f\xff\x51", b"\xff\xd8\xff", b"\xe0\x7f\x10\0")]
        start = max(starts)
        for _ in range(chance.choice((1, 2, 4))):
            content[min(max(start, 0) + chance.randrange(120), len(content) - 1)] = chance.randrange(256)
    return bytes(content)


def main(folder: Path, first: int, last: int) -> None:
    import gdcm
    import jpeg_ls
    import openjpeg
    import PIL.Jpeg2KImagePlugin
    import PIL.JpegImagePlugin
    import rle

    from ingest.dicom.decode import digest_pixels
    from ingest.dicom.header import counted_warnings, read_header
    from ingest.dicom.pixels import display
    from ingest.errors import IngestError

    loaded = (gdcm, jpeg_ls, openjpeg, PIL.Jpeg2KImagePlugin, PIL.JpegImagePlugin, rle)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ALLOWANCE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, last):
        name, content = damaged(folder, number)
        print(json.dumps({"number": number, "name": name, "decoders": len(loaded)}), flush=True)
        started = time.perf_counter()
        outcome = "read"
        try:
            with counted_warnings():
                dataset = read_header(content)
                digest_pixels(dataset)
                display(dataset)
        except IngestError as error:
            outcome = error.code
        except Exception as error:  # noqa: BLE001  the question is which there are
            outcome = f"{type(error).__module__}.{type(error).__name__}"
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"number": number, "outcome": outcome, "seconds": seconds, "peak_kb": peak}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
