"""What takes the place of an identifier? Values from a keyed hash: equal for equal keys, and no way back without it."""

import hashlib
import hmac
import os
import stat
import uuid
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from ingest.deidentify.errors import KeyUnusable

#: Environment variable that holds the key where no file is given.
KEY_VARIABLE = "INTERVAL_DEIDENTIFY_KEY"
#: Shortest key, in bytes: 32 hexadecimal digits are 128 bits.
_SHORTEST_KEY = 32
#: Days by which dates move into the past: at least a year, so that no date stays near, and ten years of values.
_LEAST_SHIFT, _SHIFTS = 365, 3652
#: Dummy birth dates lie in a century in which nobody's birth is recorded, so that none is taken for a real one.
_DUMMY_BIRTH = date(1600, 1, 1)
_DUMMY_BIRTHS = 36524


@dataclass(frozen=True)
class Secret:
    """The key of a project. It is not shown, and no file that is written holds it."""

    key: bytes = field(repr=False)

    @property
    def check(self) -> str:
        """Eight hex digits that tell whether two runs used one key."""
        return self._hash("check").hex()[:8]

    def person(self, patient_id: str, issuer: str) -> "Person":
        """The pseudonymous person of a PatientID and its issuer."""
        return Person(secret=self, parts=(patient_id, issuer))

    def uid(self, uid: str) -> str:
        """The UID that replaces another one, the same in every file and every batch.

        Source: DICOM PS3.5 B.2, UIDs derived from a UUID.
        """
        return f"2.25.{uuid.UUID(bytes=self._hash('uid', uid)[:16], version=5).int}"

    def _hash(self, *parts: str) -> bytes:
        """HMAC-SHA-256 of the parts, each with its length, so that no two lists of parts are alike."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in map(_encode, parts))
        return hmac.new(self.key, message, hashlib.sha256).digest()


@dataclass(frozen=True)
class Person:
    """Replacements that belong to one person.

    Attributes:
        secret: The project's key.
        parts: What identifies the person; it never leaves this class.
    """

    secret: Secret = field(repr=False)
    parts: tuple[str, ...] = field(repr=False)

    @property
    def id(self) -> str:
        """PatientID: 20 hex digits."""
        return self._hash("id").hex()[:20].upper()

    @property
    def shift(self) -> timedelta:
        """Whole days to add to every date of this person: between one and eleven years back, never zero."""
        return -timedelta(days=_LEAST_SHIFT + int.from_bytes(self._hash("shift")[:8], "big") % _SHIFTS)

    def name(self, recorded: str) -> str:
        """PatientName: differs where recorded names differ, as one id given to two people must stay noticeable."""
        letters = "".join(one for one in recorded.upper() if one.isalnum())
        return f"ANON^{self._hash('name', letters).hex()[:12].upper()}" if letters else ""

    def birth_date(self, recorded: str) -> str:
        """PatientBirthDate: a dummy of the 17th century that differs where recorded dates differ."""
        if not recorded:
            return ""
        days = int.from_bytes(self._hash("birth", recorded)[:8], "big") % _DUMMY_BIRTHS
        return (_DUMMY_BIRTH + timedelta(days=days)).strftime("%Y%m%d")

    def _hash(self, purpose: str, *values: str) -> bytes:
        return self.secret._hash(purpose, *self.parts, *values)


def read_secret(path: Path | None) -> Secret:
    """The key from a file, or from the environment variable INTERVAL_DEIDENTIFY_KEY; spaces around it do not count.

    Raises:
        KeyUnusable: There is none, it is short, or others may read the file.
    """
    if path is None:
        recorded = os.environ.get(KEY_VARIABLE, "")
        if not recorded.strip():
            raise KeyUnusable(
                f"No key: make one with `openssl rand -hex 32 > key; chmod 600 key`, and give it as --key-file or in "
                f"{KEY_VARIABLE}. Keep it: the same key gives the same pseudonyms and the same shift of dates."
            )
        return _checked(_encode(recorded))
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise KeyUnusable(
            f"The key file cannot be read ({type(error).__name__}); check its name and rights."
        ) from error
    if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyUnusable("Others than its owner have rights on the key file; take them away with `chmod 600`.")
    return _checked(content)


def _checked(content: bytes) -> Secret:
    key = content.strip()
    if len(key) < _SHORTEST_KEY:
        raise KeyUnusable(f"The key has {len(key)} characters of at least {_SHORTEST_KEY}; make a longer one.")
    return Secret(key)


def _encode(part: str) -> bytes:
    return part.encode("utf-8", "surrogateescape")
