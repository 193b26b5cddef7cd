"""Why a file, or a whole archive, is not de-identified."""

import struct
from typing import ClassVar

from ingest.errors import IngestError

#: What pydicom raises on an element whose bytes do not fit its type.
PARSER_FAULTS = (
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
)


class KeyUnusable(IngestError, ValueError):
    """The key of the pseudonyms cannot be used; give a private file with at least 32 characters by chance."""

    code: ClassVar[str] = "KEY_UNUSABLE"


class OutputUnusable(IngestError, ValueError):
    """The output folder cannot be written to; give an empty folder outside the archive."""

    code: ClassVar[str] = "OUTPUT_UNUSABLE"


class NotAnImage(IngestError):
    """Its text cannot be told from an identity, so only images are de-identified; clean it by hand if it is needed."""

    code: ClassVar[str] = "NOT_AN_IMAGE"


class UnknownClass(IngestError):
    """The object's class is private or unknown, so nothing says what its elements mean; export a standard object."""

    code: ClassVar[str] = "UNKNOWN_CLASS"


class PixelText(IngestError):
    """The picture may hold text; run again with `--pixels risky`, which finds and masks it, and look at the results."""

    code: ClassVar[str] = "PIXEL_TEXT"


class PixelsKept(IngestError):
    """The text in the picture cannot be masked in pixels of this kind; export it again as 8 or 16 bit pixels."""

    code: ClassVar[str] = "PIXELS_NOT_MASKED"


class IdentityLeft(IngestError):
    """The patient's name or number is inside the coded pixels; run again with `--pixels all`, which codes them anew."""

    code: ClassVar[str] = "IDENTITY_LEFT"
