"""What does a native JPEG decoder complain of, when it says so on stderr only and gives the picture nevertheless?"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: How libjpeg begins a warning that it filled in what the data lacked, or skipped what it did not understand.
_CORRUPT = b"Corrupt JPEG data"
#: File descriptor of stderr, which belongs to the whole process: one decoder at a time.
_STDERR = 2
_one_at_a_time = threading.Lock()


class CorruptStream(Exception):
    """The decoder guessed a part of the picture."""


@contextmanager
def complaints_raised() -> Iterator[None]:
    """Makes an exception of libjpeg's remark, inside, that the data is corrupt; passes on all else that is written.

    GDCM's libjpeg fills a damaged picture with grey, writes one line to stderr and reports success.

    Raises:
        CorruptStream: The remark was made.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as written:
        if sys.__stderr__ is not None:
            sys.__stderr__.flush()
        kept = os.dup(_STDERR)
        try:
            os.dup2(written.fileno(), _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            written.seek(0)
            lines = written.readlines()
            others = [line for line in lines if not line.startswith(_CORRUPT)]
            if others:
                os.write(_STDERR, b"".join(others))
        if len(others) < len(lines):
            raise CorruptStream()
